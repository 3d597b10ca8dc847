//! Where a request came from: the one place that looks at a proxy's word for it.
//!
//! Whoever connects may write any `X-Forwarded-For`. Each proxy appends the address it was connected
//! from, so the list is read from its end, for as long as a trusted proxy wrote what is read. Of the
//! other headers of that kind, `X-Forwarded-Proto` tells whether a proxy ended TLS, for what administrators
//! ask. For that alone the host of a request counts, too.

use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::Version;
use actix_web::http::header::{HOST, HeaderMap, USER_AGENT};
use hosting::settings::is_loopback;
use ipnet::IpNet;

use crate::policy::app::App;
use crate::store::Requester;

const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_PROTO: &str = "x-forwarded-proto";
/// What a proxy adds, one or the other, to what it sends on.
const OF_PROXIES: [&str; 6] =
    [FORWARDED_FOR, "x-forwarded-host", "x-forwarded-server", "x-real-ip", "forwarded", "via"];

/// Who sent the request.
pub(crate) fn of(app: &App, request: &HttpRequest) -> Requester {
    let user_agent = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok());
    let trusted = &app.config.http.trusted_proxies;
    let address = request.peer_addr().map(|peer| address(peer.ip(), request.headers(), trusted));
    Requester {
        ip: address.map(|address| address.to_string()),
        user_agent: user_agent.map(|text| text.chars().take(256).collect()),
    }
}

/// Whether nobody on a network could read the request: it came by https to a proxy that is trusted or on this
/// machine, which says so, or from this machine without any proxy.
pub(crate) fn is_protected(app: &App, request: &HttpRequest) -> bool {
    let peer = request.peer_addr().map(|peer| peer.ip());
    let (version, headers) = (request.version(), request.headers());
    peer.is_some_and(|peer| protected(peer, version, headers, &app.config.http.trusted_proxies))
}

fn protected(peer: IpAddr, version: Version, headers: &HeaderMap, trusted: &[IpNet]) -> bool {
    let peer = peer.to_canonical();
    let mut schemes = headers.get_all(FORWARDED_PROTO);
    match (schemes.next(), schemes.next()) {
        (None, _) => peer.is_loopback() && was_sent_here(version, headers),
        (Some(scheme), None) => {
            let is_known =
                peer.is_loopback() || trusted.iter().any(|network| network.contains(&peer));
            is_known && scheme.as_bytes() == b"https"
        }
        _ => false,
    }
}

/// Whether whoever made a request that came from this machine made it for this machine, as far as can be seen. A
/// proxy that does not say how it was asked is known by what it adds, by the host that it passes on, or by
/// HTTP/1.0, which nginx before 1.29.7 speaks unless it is told otherwise. The host also gives away a page in a
/// browser on this machine whose name was made to lead here (DNS rebinding).
fn was_sent_here(version: Version, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).map(|host| host.to_str().unwrap_or_default());
    let names_us = match (hosts.next(), hosts.next()) {
        (Some(host), None) => !host.contains(['/', '@']) && is_loopback(host),
        _ => false,
    };
    names_us
        && version != Version::HTTP_10
        && !OF_PROXIES.iter().any(|name| headers.contains_key(*name))
}

/// The last address that is no trusted proxy's. What cannot be read ends the search at the last good
/// hop: nothing before it was written by anybody we know.
fn address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let mut nearest = peer.to_canonical();
    // Several headers are one list (RFC 9110 §5.3).
    let lists: Vec<_> = headers.get_all(FORWARDED_FOR).collect();
    let mut hops = lists.iter().rev().flat_map(|list| list.as_bytes().rsplit(|byte| *byte == b','));
    while is_trusted(nearest) {
        let Some(hop) = hops.next().and_then(read) else { break };
        nearest = hop;
    }
    nearest
}

/// An address, also with a port, as some proxies write it.
fn read(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse().map(|at: SocketAddr| at.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn map(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for &(name, value) in list {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_came_over_a_network_in_the_clear_is_not_protected() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        for (peer, list, expected) in [
            ("127.0.0.1", &[][..], true),
            ("::1", &[], true),
            ("::ffff:127.0.0.1", &[], true),
            ("127.0.0.1", &[(FORWARDED_PROTO, "https")], true),
            ("10.0.0.1", &[(FORWARDED_PROTO, "https")], true),
            ("10.0.0.1", &[(FORWARDED_PROTO, "https"), (FORWARDED_FOR, "203.0.113.7")], true),
            ("10.0.0.1", &[], false),
            ("203.0.113.1", &[], false),
            // Nobody we know, whatever it says.
            ("203.0.113.1", &[(FORWARDED_PROTO, "https")], false),
            ("10.0.0.1", &[(FORWARDED_PROTO, "http")], false),
            ("127.0.0.1", &[(FORWARDED_PROTO, "http")], false),
            // A proxy that says for whom it asks and not how they asked it.
            ("127.0.0.1", &[(FORWARDED_FOR, "203.0.113.7")], false),
            ("127.0.0.1", &[("x-forwarded-host", "auth.example.com")], false),
            ("127.0.0.1", &[("x-forwarded-server", "www.example.com")], false),
            ("127.0.0.1", &[("x-real-ip", "203.0.113.7")], false),
            ("127.0.0.1", &[("forwarded", "for=203.0.113.7;proto=https")], false),
            ("127.0.0.1", &[("via", "1.1 proxy")], false),
            // One hop of several was in the clear, or somebody wrote the first.
            ("10.0.0.1", &[(FORWARDED_PROTO, "https,http")], false),
            ("10.0.0.1", &[(FORWARDED_PROTO, "https"), (FORWARDED_PROTO, "https")], false),
            ("10.0.0.1", &[(FORWARDED_PROTO, "HTTPS ")], false),
            ("10.0.0.1", &[("forwarded", "proto=https")], false),
        ] {
            let mut headers = map(list);
            headers.append(HOST, HeaderValue::from_static("127.0.0.1:9080"));
            let found = protected(peer.parse().unwrap(), Version::HTTP_11, &headers, &trusted);
            assert_eq!(found, expected, "{peer} {list:?}");
        }
    }

    /// A proxy that adds nothing at all, and a page whose name was made to lead to this machine.
    #[test]
    fn what_was_sent_to_another_host_did_not_come_from_this_machine_alone() {
        let here = "127.0.0.1".parse().unwrap();
        for (hosts, version, expected) in [
            (&["127.0.0.1:9080"][..], Version::HTTP_11, true),
            (&["127.0.0.1"], Version::HTTP_11, true),
            (&["127.7.7.7:1"], Version::HTTP_11, true),
            (&["[::1]:9080"], Version::HTTP_11, true),
            (&["localhost:9080"], Version::HTTP_11, true),
            (&["auth.example.com"], Version::HTTP_11, false),
            (&["auth.example.com:9080"], Version::HTTP_11, false),
            (&["localhost.example.com"], Version::HTTP_11, false),
            (&["127.0.0.1.example.com"], Version::HTTP_11, false),
            (&["192.0.2.1:9080"], Version::HTTP_11, false),
            (&["[2001:db8::1]:9080"], Version::HTTP_11, false),
            (&["evil.example@127.0.0.1"], Version::HTTP_11, false),
            (&["evil.example://127.0.0.1"], Version::HTTP_11, false),
            (&["127.0.0.1/evil.example"], Version::HTTP_11, false),
            (&[""], Version::HTTP_11, false),
            (&[], Version::HTTP_11, false),
            (&["127.0.0.1", "evil.example"], Version::HTTP_11, false),
            (&["127.0.0.1:9080"], Version::HTTP_10, false),
        ] {
            let mut headers = HeaderMap::new();
            for &host in hosts {
                headers.append(HOST, HeaderValue::from_static(host));
            }
            assert_eq!(protected(here, version, &headers, &[]), expected, "{hosts:?} {version:?}");
            // Whoever says that it came by https has ended TLS, for whatever name.
            headers.append(
                HeaderName::from_static(FORWARDED_PROTO),
                HeaderValue::from_static("https"),
            );
            assert!(protected(here, version, &headers, &[]), "{hosts:?}");
        }
    }

    /// N-T06
    #[test]
    fn the_client_is_the_last_hop_that_no_trusted_proxy_is() {
        let trusted: Vec<IpNet> =
            ["10.0.0.0/8", "fd00::/8", "192.0.2.9/32"].map(|it| it.parse().unwrap()).to_vec();
        for (peer, lists, expected) in [
            // Nobody we know: whatever it says.
            ("203.0.113.1", &["198.51.100.7"][..], "203.0.113.1"),
            ("::ffff:203.0.113.1", &["198.51.100.7"], "203.0.113.1"),
            ("2001:db8::1", &["198.51.100.7"], "2001:db8::1"),
            // A proxy of ours.
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("::ffff:10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("fd00::1", &["2001:db8::7"], "2001:db8::7"),
            ("10.0.0.1", &["::ffff:198.51.100.7"], "198.51.100.7"),
            // What stands before the last untrusted hop is that hop's own story.
            ("10.0.0.1", &["127.0.0.1, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["1.2.3.4,198.51.100.7 ,10.2.3.4, 192.0.2.9"], "198.51.100.7"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            // Several headers are one list.
            ("10.0.0.1", &["1.2.3.4", "198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["1.2.3.4, 198.51.100.7", "10.0.0.2"], "198.51.100.7"),
            // With ports.
            ("10.0.0.1", &["198.51.100.7:4711"], "198.51.100.7"),
            ("10.0.0.1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            ("10.0.0.1", &["[2001:db8::7]"], "2001:db8::7"),
            // Garbage: the last good hop.
            ("10.0.0.1", &["unknown"], "10.0.0.1"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7,"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7, 1.2.3.4.5, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["198.51.100.7, \u{fc}, 10.0.0.2"], "10.0.0.2"),
        ] {
            let mut headers = HeaderMap::new();
            for list in lists {
                let value = HeaderValue::from_bytes(list.as_bytes()).unwrap();
                headers.append(HeaderName::from_static(FORWARDED_FOR), value);
            }
            for (name, value) in [("forwarded", "for=6.6.6.6"), ("x-real-ip", "6.6.6.6")] {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            let found = address(peer.parse().unwrap(), &headers, &trusted);
            assert_eq!(found.to_string(), expected, "{peer} {lists:?}");
        }
    }
}
