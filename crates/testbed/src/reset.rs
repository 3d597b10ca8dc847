//! A client that resets its connection (RST) before there is an answer.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// Posts JSON to `host:port` and resets the connection that much later.
pub async fn post_and_reset(address: &str, path: &str, body: &serde_json::Value, after: Duration) {
    let connecting = tokio::time::timeout(Duration::from_secs(1), TcpStream::connect(address));
    let Ok(Ok(mut stream)) = connecting.await else { return };
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    // With a linger of zero the system answers a close with a reset.
    let _ = stream.set_zero_linger();
    let _ = stream.write_all(request.as_bytes()).await;
    tokio::time::sleep(after).await;
}
