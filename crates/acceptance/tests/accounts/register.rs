//! Registration: who gets an account, and who does not.

use futures_util::future::join_all;
use reqwest::header::SET_COOKIE;
use serde_json::json;
use testbed::{Answer, Kind, PASSWORD, Tokens, World, on_both_databases};

use crate::support::{assert_one_sentence, members, state};

async fn register(world: &World, username: &str, password: &str) -> Answer {
    world.post("/register", &json!({"username": username, "password": password})).await
}

async fn register_with_email(world: &World, username: &str, email: &str) -> Answer {
    let body = json!({"username": username, "password": PASSWORD, "email": email});
    world.post("/register", &body).await
}

async fn log_in(world: &World, username: &str, password: &str) -> u16 {
    world.post("/login", &json!({"username": username, "password": password})).await.status
}

async fn violations(world: &World, username: &str, password: &str) -> Vec<String> {
    let answer = register(world, username, password).await;
    answer.assert_problem(422, "password-policy");
    assert_one_sentence(&answer);
    let violations = answer.json()["violations"].clone();
    serde_json::from_value(violations).expect("a list of names")
}

/// `YYYY-MM-DDThh:mm:ssZ`
fn is_rfc3339(text: &str) -> bool {
    text.len() == 20
        && text.bytes().zip("0000-00-00T00:00:00Z".bytes()).all(|(given, form)| match form {
            b'0' => given.is_ascii_digit(),
            _ => given == form,
        })
}

/// Checks that exactly one of the answers is 201 and the others are conflicts.
fn assert_one_winner(answers: &[Answer]) {
    let won = answers.iter().filter(|answer| answer.status == 201).count();
    for lost in answers.iter().filter(|answer| answer.status != 201) {
        lost.assert_problem(409, "conflict");
        assert_one_sentence(lost);
    }
    assert_eq!(won, 1);
}

on_both_databases! {
    async fn a_registration_tells_the_user_and_does_not_log_in(world) {
        let answer = register_with_email(&world, "Ada Lovelace", "Ada@example.com").await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.assert_hardened();
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert!(answer.headers.get(SET_COOKIE).is_none());
        let body = answer.json();
        assert_eq!(members(&body), ["user"]);
        let user = &body["user"];
        assert_eq!(members(user), ["created_at", "email", "id", "username"]);
        assert_eq!(
            (&user["username"], &user["email"]),
            (&json!("Ada Lovelace"), &json!("Ada@example.com"))
        );
        assert!(uuid::Uuid::try_parse(user["id"].as_str().unwrap()).is_ok());
        assert!(is_rfc3339(user["created_at"].as_str().unwrap()), "{user}");
        assert_eq!(world.database.number("select count(*) from sessions").await, 0);
    }

    async fn without_an_address_the_email_is_null(world) {
        for (name, body) in [
            ("ada", json!({"username": "ada", "password": PASSWORD})),
            ("eve", json!({"username": "eve", "password": PASSWORD, "email": null})),
        ] {
            let answer = world.post("/register", &body).await;
            assert_eq!(answer.status, 201, "{}", answer.text);
            assert!(answer.json()["user"]["email"].is_null(), "{name}");
        }
    }

    /// N-U05
    async fn of_sixteen_registrations_of_one_name_one_wins(world) {
        let answers = join_all((0..16).map(|_| register(&world, "ada", PASSWORD))).await;
        assert_one_winner(&answers);
        assert_eq!(world.database.number("select count(*) from users").await, 1);
    }

    async fn all_spellings_of_a_name_are_one_name(world) {
        let spellings = [
            "ada é",
            "ADA É",
            "Ada E\u{301}",
            "ａｄａ é",
            "𝐚𝐝𝐚 é",
            "ⓐda é",
            // What is not drawn goes away in NFKC case folding (Unicode §3.13, D147).
            "ada\u{fe0f} é",
            "a\u{34f}da é",
            "ada é\u{3164}",
        ];
        let answers = join_all(spellings.map(|name| register(&world, name, PASSWORD))).await;
        assert_one_winner(&answers);
        assert_eq!(world.database.number("select count(*) from users").await, 1);
        let cyrillic = register(&world, "аda é", PASSWORD).await;
        assert_eq!(cyrillic.status, 201, "a letter that only looks the same is another");
    }

    async fn all_spellings_of_an_address_are_one_address(world) {
        let addresses = ["ada@example.com", "Ada@Example.COM", "ａｄａ@example.com"];
        let answers = join_all((0..15).map(|n| {
            let address = addresses[n % addresses.len()];
            let world = &world;
            async move { register_with_email(world, &format!("user{n}"), address).await }
        }))
        .await;
        assert_one_winner(&answers);
        assert_eq!(world.database.number("select count(*) from users").await, 1);
        assert_eq!(register_with_email(&world, "plus", "ada+x@example.com").await.status, 201);
    }

    async fn what_is_no_name_is_refused(world) {
        for name in [
            "",
            " ",
            " ada",
            "ada ",
            "\u{a0}ada",
            "ada@example.com",
            "a＠b",
            "a\0b",
            "a\nb",
            "a\u{1b}[31mb",
            "a\u{200b}b",
            "a\u{202e}b",
            "a\u{200c}b",
            "علی\u{200c}",
            "ශ\u{200d}රී",
            "\u{feff}ada",
            "\u{378}",
            "\u{e000}",
            "\u{3164}",
            "\u{fe0f}",
            &"x".repeat(65),
            &"é".repeat(65),
        ] {
            let answer = register(&world, name, PASSWORD).await;
            answer.assert_problem(400, "invalid-request");
            assert_one_sentence(&answer);
        }
        assert_eq!(state(&world).await[0], 0);
        assert_eq!(register(&world, &"é".repeat(64), PASSWORD).await.status, 201);
    }

    /// RFC 5892 A.1, A.2. What joins letters and what parts them makes no other name.
    async fn a_name_is_written_as_its_script_is(world) {
        for (name, without) in [
            ("علی\u{200c}رضا", "علیرضا"),
            ("ශ්\u{200d}රී", "ශ්රී"),
            ("क्\u{200c}षमा", "क्षमा"),
            ("Ada 👩🏽\u{200d}🚀", "ada 👩🏽🚀"),
        ] {
            let answer = register(&world, name, PASSWORD).await;
            assert_eq!(answer.status, 201, "{name}: {}", answer.text);
            assert_eq!(answer.json()["user"]["username"], name);
            register(&world, without, PASSWORD).await.assert_problem(409, "conflict");
            for spelling in [name, without] {
                assert_eq!(log_in(&world, spelling, PASSWORD).await, 200, "{spelling:?}");
            }
        }
        let address = "علی\u{200c}رضا@example.com";
        assert_eq!(register_with_email(&world, "ada", address).await.status, 201);
        assert_eq!(log_in(&world, "علیرضا@example.com", PASSWORD).await, 200);
    }

    /// As some keyboards and file systems write: a letter, and its marks after it.
    async fn a_name_is_as_long_as_it_looks(world) {
        for (syllable, decomposed) in [("\u{d55c}", "\u{1112}\u{1161}\u{11ab}"), ("\u{e9}", "e\u{301}")] {
            let answer = register(&world, &decomposed.repeat(65), PASSWORD).await;
            answer.assert_problem(400, "invalid-request");
            let answer = register(&world, &decomposed.repeat(64), PASSWORD).await;
            assert_eq!(answer.status, 201, "{}", answer.text);
            for spelling in [decomposed, syllable] {
                assert_eq!(log_in(&world, &spelling.repeat(64), PASSWORD).await, 200);
            }
        }
        let address = |letter: &str| format!("{}@example.com", letter.repeat(121));
        assert_eq!(register_with_email(&world, "ada", &address("e\u{301}")).await.status, 201);
        assert_eq!(log_in(&world, &address("\u{e9}"), PASSWORD).await, 200);
    }

    async fn what_is_no_address_is_refused(world) {
        for email in [
            "",
            "ada",
            "@",
            "ada@",
            "@example.com",
            "ada@example",
            "ada@ex@ample.com",
            "a da@example.com",
            "ada@example.com.",
            "ada@example.com\n",
            "ada\0@example.com",
            "ada\u{200b}@example.com",
            &format!("{}@example.com", "x".repeat(250)),
        ] {
            let answer = register_with_email(&world, "ada", email).await;
            answer.assert_problem(400, "invalid-request");
            assert_one_sentence(&answer);
        }
        assert_eq!(state(&world).await[0], 0);
    }

    /// W-01, W-04: what it lacks is told, all of it.
    async fn a_password_that_the_policy_refuses_is_told_why(world) {
        for (password, expected) in [
            ("fourteen chars", &["too_short"][..]),
            ("", &["too_short", "common"]),
            (&"every word counts ".repeat(15), &["too_long"]),
            ("password password 123", &["common"]),
            ("trustno1!!!!!!!!!", &["common"]),
            ("sunshine & princess", &["common"]),
            ("liverpool-liverpool", &["common"]),
            ("aaaaaaaaaaaaaaaa", &["common"]),
            ("I am Marjorie, hello", &["contains_name"]),
            ("I am MARJORIE, hello", &["contains_name"]),
            ("marjorie", &["too_short", "common", "contains_name"]),
        ] {
            assert_eq!(violations(&world, "Marjorie", password).await, expected, "{password}");
        }
        let body =
            json!({"username": "x", "password": "my ada@example.com", "email": "Ada@example.com"});
        let answer = world.post("/register", &body).await;
        answer.assert_problem(422, "password-policy");
        assert_eq!(answer.json()["violations"], json!(["contains_name"]));
        assert_eq!(state(&world).await[0], 0);
    }

    /// W-01: code points, not bytes and not UTF-16 units.
    async fn fifteen_characters_are_enough_in_any_script(world) {
        for (name, password) in [
            ("least", "fifteen chars o"),
            ("sixty-four", &"every word counts ".repeat(4)[..64]),
            ("longest", &"sixteen in a row".repeat(16)),
            ("emoji", "🐈🐕🐁🐄🐅🐆🐇🐉🐊🐋🐌🐍🐎🐏🐐"),
            ("kanji", "雨降夜長月清風松竹梅桜花鳥山川"),
        ] {
            let answer = register(&world, name, password).await;
            assert_eq!(answer.status, 201, "{name}: {}", answer.text);
            assert_eq!(log_in(&world, name, password).await, 200, "{name}");
        }
        let fourteen = "🐈🐕🐁🐄🐅🐆🐇🐉🐊🐋🐌🐍🐎🐏";
        assert_eq!(violations(&world, "short", fourteen).await, ["too_short"]);
    }

    async fn a_password_has_at_most_1024_bytes(world) {
        let long = "every word 🐈 ".repeat(100);
        let cut = |bytes: usize| -> String {
            let mut end = bytes;
            while !long.is_char_boundary(end) {
                end -= 1;
            }
            format!("{}{}", &long[..end], "x".repeat(bytes - end))
        };
        let answer = register(&world, "ada", &cut(1025)).await;
        answer.assert_problem(400, "invalid-request");
        assert_one_sentence(&answer);
        assert_eq!(violations(&world, "ada", &cut(1024)).await, ["too_long"], "it was looked at");
        let answer = register(&world, "ada", &"x".repeat(1_000_000)).await;
        answer.assert_problem(413, "payload-too-large");
        assert_one_sentence(&answer);
        assert_eq!(state(&world).await[0], 0);
    }

    /// As long as it may be, and more than 1024 bytes as some keyboards send it.
    async fn the_longest_password_is_good_however_it_is_typed(world) {
        let hangul = |n: u32| {
            let parts = [0x1100 + n / 588, 0x1161 + n % 588 / 28, 0x11a7 + n % 28];
            let jamo = |part: &u32| (*part != 0x11a7).then(|| char::from_u32(*part).unwrap());
            (char::from_u32(0xac00 + n).unwrap().to_string(), parts.iter().filter_map(jamo).collect())
        };
        let vowels = [
            ("ế", "e\u{302}\u{301}"),
            ("ộ", "o\u{323}\u{302}"),
            ("ằ", "a\u{306}\u{300}"),
            ("ữ", "u\u{31b}\u{303}"),
            ("ẫ", "a\u{302}\u{303}"),
        ];
        let korean: Vec<(String, String)> = (0..256).map(|n| hangul(n * 41 % 11_172)).collect();
        let vietnamese = (0..256).map(|n| vowels[n * n % 257 % 5]);
        let vietnamese = vietnamese.map(|(one, other)| (one.to_owned(), other.to_owned())).collect();
        for (name, syllables) in [("korean", korean), ("vietnamese", vietnamese)] {
            let (composed, decomposed): (String, String) = syllables.into_iter().unzip();
            assert!(composed.len() <= 1024 && decomposed.len() > 1024, "{name}");
            let answer = register(&world, name, &decomposed).await;
            assert_eq!(answer.status, 201, "{name}: {}", answer.text);
            for typed in [&composed, &decomposed] {
                assert_eq!(log_in(&world, name, typed).await, 200, "{name}");
            }
            let access = Tokens::of(
                &world.post("/login", &json!({"username": name, "password": composed})).await,
            ).access;
            let change = json!({"current_password": decomposed, "new_password": PASSWORD});
            let request = world.http.post(format!("{}/password", world.auth)).bearer_auth(access);
            assert_eq!(Answer::to(request.json(&change)).await.status, 204, "{name}");
            let longer = format!("{decomposed}e\u{301}");
            assert_eq!(violations(&world, "another", &longer).await, ["too_long"], "{name}");
        }
    }

    async fn a_nul_is_no_part_of_a_password(world) {
        let answer = register(&world, "ada", "a quite ordinary\0sentence").await;
        answer.assert_problem(400, "invalid-request");
        assert_one_sentence(&answer);
    }

    /// JSON can write half a character; it is none, wherever it stands.
    async fn half_a_character_is_no_part_of_a_name_or_a_password(world) {
        for half in ["\\ud800", "\\udc00", "\\ud800\\ud800", "\\ud83d\\u0041"] {
            for (name, password) in [
                (format!("ada{half}"), PASSWORD.to_owned()),
                ("ada".to_owned(), format!("a quite ordinary {half} sentence")),
            ] {
                let body = format!(r#"{{"username":"{name}","password":"{password}"}}"#);
                for path in ["/register", "/login"] {
                    let request = world.http.post(format!("{}{path}", world.auth));
                    let request = request.header("content-type", "application/json");
                    let answer = Answer::to(request.body(body.clone())).await;
                    answer.assert_problem(400, "invalid-request");
                    assert_one_sentence(&answer);
                }
            }
        }
        assert_eq!(state(&world).await[0], 0);
    }

    /// Not only bcrypt is to be mistrusted.
    async fn two_passwords_equal_in_their_first_72_bytes_are_two(world) {
        for stem in ["x1".repeat(36), "né".repeat(24)] {
            assert_eq!(stem.len(), 72);
            let name = stem.chars().take(2).collect::<String>();
            assert_eq!(register(&world, &name, &format!("{stem} and so on")).await.status, 201);
            assert_eq!(log_in(&world, &name, &format!("{stem} and so on")).await, 200);
            for other in [format!("{stem} and so forth"), stem.clone(), format!("{stem} ")] {
                assert_eq!(log_in(&world, &name, &other).await, 401);
            }
        }
    }

    async fn spaces_around_a_password_belong_to_it(world) {
        assert_eq!(register(&world, "ada", &format!("  {PASSWORD} ")).await.status, 201);
        assert_eq!(log_in(&world, "ada", &format!("  {PASSWORD} ")).await, 200);
        assert_eq!(log_in(&world, "ada", PASSWORD).await, 401);
    }

    /// W-03
    async fn a_password_typed_on_another_keyboard_is_the_same(world) {
        let (nfc, nfd) =
            ("un caf\u{e9} tr\u{e8}s serr\u{e9}", "un cafe\u{301} tre\u{300}s serre\u{301}");
        assert_eq!(register(&world, "nfc", nfc).await.status, 201);
        assert_eq!(register(&world, "nfd", nfd).await.status, 201);
        for name in ["nfc", "nfd"] {
            assert_eq!(
                (log_in(&world, name, nfc).await, log_in(&world, name, nfd).await),
                (200, 200)
            );
        }
        assert_eq!(log_in(&world, "nfc", "un cafe tres serre").await, 401);
    }

    async fn a_decomposed_password_is_counted_composed(world) {
        // 14 characters, 15 code points as sent.
        assert_eq!(violations(&world, "ada", "fourteen chare\u{301}").await, ["too_short"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_characters_are_enough_where_the_settings_say_so() {
    for kind in [Kind::Postgres, Kind::Sqlite] {
        let world = World::start_with(kind, &[("AUTH__PASSWORDS__MIN_LENGTH", "8")]).await;
        assert_eq!(register(&world, "ada", "rain cat").await.status, 201);
        assert_eq!(violations(&world, "eve", "raincat").await, ["too_short"]);
    }
}
