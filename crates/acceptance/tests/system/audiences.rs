//! Two services that verify by themselves, and tokens for one of them, the other, or both.

use serde_json::{Value, json};
use testbed::service::{Service, assert_one_clear_line, run, until};
use testbed::world::{AUDIENCE, ISSUER};
use testbed::{PASSWORD, Tokens, on_each_empty_database};

const B: &str = "https://b.example";

on_each_empty_database! {
    async fn a_token_for_one_service_is_not_good_at_the_other(database) {
        let both = format!("{AUDIENCE},{B}");
        let mut auth = Service::auth(&database.url, &[("AUTH__TOKENS__AUDIENCE", &both)]);
        auth.start().await;
        let mut a = Service::resource(&auth, &[]);
        let mut b = Service::resource(&auth, &[("RESOURCE__AUDIENCE", B)]);
        a.start().await;
        b.start().await;
        auth.register("ada").await;
        for (resource, expected) in [
            (json!(AUDIENCE), [200, 401, 401]),
            (json!(B), [401, 200, 401]),
            (json!([B, AUDIENCE]), [200, 200, 401]),
            (json!([ISSUER, B]), [401, 200, 200]),
            (json!(ISSUER), [401, 401, 200]),
            (Value::Null, [200, 200, 200]),
        ] {
            let body = json!({"username": "ada", "password": PASSWORD, "resource": resource});
            let login = Tokens::of(&auth.post("/login", &body).await);
            let all = auth.login("ada").await;
            let body = json!({"refresh_token": all.refresh, "resource": resource});
            let refreshed = Tokens::of(&auth.post("/refresh", &body).await);
            for tokens in [&login, &refreshed] {
                let [at_a, at_b] = [a.whoami(&tokens.access).await, b.whoami(&tokens.access).await];
                let me = auth.get_as(&tokens.access, "/me").await;
                assert_eq!([at_a.status, at_b.status, me.status], expected, "{resource}");
                for refused in [at_a, at_b, me].iter().filter(|answer| answer.status == 401) {
                    refused.assert_problem(401, "invalid-token");
                }
            }
            // Whatever it is for, its session can be ended, and every service hears of that.
            auth.logout(&login.refresh).await;
            for (service, was) in [(&a, expected[0]), (&b, expected[1])] {
                until("it is refused", async || service.whoami(&login.access).await.status == 401).await;
                assert!(was == 401 || service.whoami(&refreshed.access).await.status == 200);
            }
        }
    }

    async fn what_scopes_cannot_be_bound_to_is_told_at_the_start(database) {
        for (table, parts) in [
            (r#"{"reports:wirte":{"roles":["editor"]}}"#, ["scopes: ", "reports:wirte"]),
            (r#"{"reports:write":{"roles":[]}}"#, ["scopes: ", "roles of reports:write"]),
            (r#"{"reports:write":{"audience":"https://b.example/"}}"#, ["scopes: ", "tokens.audience"]),
            (r#"{"latchkey:keys":{}}"#, ["scopes: ", "latchkey:keys needs roles"]),
            (r#"{"latchkey:everything":{"roles":["admin"]}}"#, ["scopes: ", "latchkey:audit:read"]),
            ("reports:write", ["scopes", "must be JSON"]),
        ] {
            let service = Service::auth(&database.url, &[("AUTH__SCOPES", table)]);
            assert_one_clear_line(&run("auth-service", &[], &service.settings), "auth-service", &parts);
        }
        let scopes = [
            ("AUTH__TOKENS__SCOPES", "profile latchkey:keys"), ("AUTH__TOKENS__DEFAULT_SCOPES", "profile"),
        ];
        let service = Service::auth(&database.url, &scopes);
        let output = run("auth-service", &[], &service.settings);
        assert_one_clear_line(&output, "auth-service", &["tokens.scopes: ", "latchkey:keys"]);
    }
}
