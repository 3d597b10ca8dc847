//! What each problem means and what to do about it: the one table of these texts.

use problem::ProblemCode;

/// What a page says of a code. What stands between backticks is code.
pub(super) struct Explanation {
    pub(super) meaning: &'static str,
    pub(super) client: &'static str,
    /// Where whoever runs the service can do something.
    pub(super) operator: Option<&'static str>,
    /// The `detail` of one occurrence.
    pub(super) example: &'static str,
}

const fn says(meaning: &'static str, client: &'static str, example: &'static str) -> Explanation {
    Explanation { meaning, client, operator: None, example }
}

impl Explanation {
    const fn operator(mut self, text: &'static str) -> Self {
        self.operator = Some(text);
        self
    }
}

const LOG_IN_AGAIN: &str =
    "Forget the tokens and have the person log in again. Trying once more cannot help.";

/// The page of a code.
#[expect(clippy::too_many_lines, reason = "a table, in the order of the codes")]
pub(super) const fn explain(code: ProblemCode) -> Explanation {
    match code {
        ProblemCode::InvalidRequest => says(
            "The request is not one that this route understands: the JSON is broken, a member is missing, unknown, \
             there twice or has a value it cannot have, or a header is there twice.",
            "Read `detail`, correct the request, and do not send this one again.",
            "The body is not acceptable: missing member `password`.",
        ),
        ProblemCode::InvalidTarget => says(
            "`resource` names a service that there are no tokens for here, or that the session is not for, or the same \
             one twice; or there are no longer any tokens for the services that the session is for. Nothing was \
             spent, and no limit counts it as a failure.",
            "Name the service exactly as the `aud` of tokens does, without a slash at the end where that has none. At a \
             refresh name no other services than at the login, or log in for them.",
            "The session is not for all the services that `resource` names; log in for them.",
        )
        .operator("The services are those of `tokens.audience`, and the issuer itself."),
        ProblemCode::UnsupportedMediaType => says(
            "The body is of a type that this route does not take, or is encoded.",
            "Send `content-type: application/json`, without `content-encoding`. A login whose refresh token goes into \
             the body may also be a form.",
            "Send application/json, not encoded.",
        ),
        ProblemCode::PayloadTooLarge => says(
            "The body has more than 16 KiB, which no honest request needs.",
            "Send less. The connection is closed, because what is left of the body was not read.",
            "The body is larger than 16384 bytes.",
        ),
        ProblemCode::RequestTimeout => says(
            "The request did not arrive within ten seconds of its beginning.",
            "Send it again on a new connection, in one piece.",
            "The body did not arrive in time.",
        )
        .operator("If clients on good networks see this, look at what stands between: a proxy that holds bodies back."),
        ProblemCode::InvalidCredentials => says(
            "The name or the password is wrong, or there is no such account, or it is disabled. Which of these it \
             is, nobody is told.",
            "Let the person try again. Do not repeat the request on your own.",
            "The name or the password is wrong.",
        )
        .operator("Whether an account exists and is enabled, `auth-service user` tells."),
        ProblemCode::Unauthenticated => says(
            "This needs a credential, and the request has none.",
            "Send the access token as `authorization: Bearer …`; to refresh, send the refresh token.",
            "Send an access token in the Authorization header.",
        ),
        ProblemCode::SessionExpired => says(
            "The session was not used for too long, or has reached its absolute end.",
            LOG_IN_AGAIN,
            "The session has expired; log in again.",
        )
        .operator("The two limits are `tokens.idle_seconds` and `tokens.absolute_seconds`."),
        ProblemCode::SessionRevoked => says(
            "The session was ended. `reason` says by what: `logout`, a changed `password`, an `admin`, a `disabled` \
             account, the `reuse` of a spent refresh token, or the `limit` of sessions that a person may have.",
            LOG_IN_AGAIN,
            "The session was ended; log in again.",
        ),
        ProblemCode::TokenReused => says(
            "A refresh token was presented that had been used before, longer ago than a lost answer explains. \
             Somebody else may have a copy of it, so the session has ended, with every token of it.",
            "Have the person log in again, and tell them: what happened is in `GET /sessions/events`. A client keeps \
             only the latest refresh token.",
            "The refresh token had been used before, so the session was ended; log in again.",
        )
        .operator(
            "One of these is a bug of a client or a theft; many at once are a client that restores old tokens, or a \
             database restored from an old backup. The audit log names both addresses.",
        ),
        ProblemCode::InvalidToken => says(
            "The token is not one of this service, not for this, no longer valid, or revoked. All of these look the \
             same to whoever sends it.",
            "With an access token: refresh, once, and try again. With a refresh token: have the person log in again.",
            "The token is not valid here; log in again.",
        ),
        ProblemCode::ReauthenticationRequired => says(
            "The token is good, but this needs a login of a few minutes ago (RFC 9470). The challenge says how recent \
             it must be, in `max_age`.",
            "Have the person enter their password again, and use the tokens of that login. A refresh does not help.",
            "Log in again to do this.",
        ),
        ProblemCode::Csrf => says(
            "The browser says that a page of another site sent the request; or it came with the refresh cookie, or was \
             to set it, and does not say which page sent it. Nothing was done, no token was spent, and no limit counts it.",
            "Send it from a page of this service or of an origin that it allows. A program that is no browser sends \
             neither `Origin` nor `Sec-Fetch-Site`, and with the cookie `x-latchkey: 1`.",
            "The request was sent by a page of another site.",
        )
        .operator("Origins besides your own are named in `http.allowed_origins`, exactly as browsers write them."),
        ProblemCode::Forbidden => says(
            "The token is good, but does not allow this: it lacks the scope that the challenge names, or it speaks for \
             no person.",
            "Log in with that `scope`, if the person may have it. A refresh does not add any.",
            "The access token lacks the scope this needs.",
        ),
        ProblemCode::RegistrationClosed => says(
            "Nobody can make an account here by themselves, whatever the request says. Nothing was looked up.",
            "Do not offer to register. `account_registration` in the metadata says beforehand what holds.",
            "Nobody can register here; ask whoever runs this service for an account.",
        )
        .operator(
            "The setting is `registration` (`AUTH__REGISTRATION`), and empty means closed where the issuer is not this \
             machine. `auth-service user create` makes accounts in any case.",
        ),
        ProblemCode::InvitationInvalid => says(
            "Making an account here takes an invitation, and the request has none, or one that is wrong, used, revoked, \
             expired, or bound to another e-mail address than the request gives. Which of these it is, nobody is told.",
            "Let the person check that they gave the address that the invitation was sent to, and else ask for a new one. \
             If the answer to an earlier attempt was lost, log in: the account may be there.",
            "Registering here takes an invitation that is good for you; ask for a new one.",
        )
        .operator("What became of an invitation, `auth-service user invitations` tells; `user invite` makes a new one."),
        ProblemCode::NotFound => says(
            "There is nothing at this address, or nothing that the caller may know of.",
            "Check the path. What belongs to somebody else looks the same as what does not exist.",
            "There is nothing at this address.",
        ),
        ProblemCode::MethodNotAllowed => says(
            "The path exists, but not with this method.",
            "Use one of the methods in `Allow`.",
            "This route takes POST only.",
        ),
        ProblemCode::Conflict => says(
            "The name or the address belongs to another account. Names that look alike to people count as one.",
            "Let the person choose another.",
            "The name or the address is taken; choose another.",
        ),
        ProblemCode::TooManyKeys => says(
            "Eight keys of this purpose were made within a day, and administrators have no more made over HTTP: every \
             service holds each of them until its last token is dead. Nothing was done.",
            "Wait until the first of them is a day old. Whoever must have another one now uses the command line with the \
             database.",
            "Eight keys of this purpose were made within a day; wait, or use the command line with the database.",
        )
        .operator("Who had them made is in the audit log: the `actor` of `key-published` and `key-active`."),
        ProblemCode::PasswordPolicy => says(
            "The new password is not one that this service accepts. `violations` says why: `too_short`, `too_long`, \
             `common` (among those that everybody tries first), `contains_name`, or `unchanged`.",
            "Say so to the person and let them choose another. There are no rules about digits or capitals; length is \
             what counts.",
            "Choose another password; see violations.",
        )
        .operator("The bounds are `passwords.min_length` and `passwords.max_length`."),
        ProblemCode::IdempotencyKeyReused => says(
            "The `Idempotency-Key` came before with another request, of the same administrator and within a day. Nothing \
             was done.",
            "Choose a new key for each thing that is to be done, and send a request again with its own key and exactly as \
             it was.",
            "The Idempotency-Key was used for another request; choose another.",
        ),
        ProblemCode::RateLimited => says(
            "The caller asked too often.",
            "Wait as long as `Retry-After` says, in seconds, and then go on more slowly. `RateLimit-Policy` and \
             `RateLimit` tell the limit and what is left of it.",
            "Too many requests; try again later.",
        )
        .operator("If honest callers share an address, a proxy may be in front of which the service does not know."),
        ProblemCode::Internal => says(
            "The service has a defect, or somebody has to mend its database. Nothing more is said of it here.",
            "Try again once. If it stays so, tell whoever runs the service, with the `request_id`.",
            "The service failed.",
        )
        .operator(
            "The log says why, beside the `request_id`: a panic is a defect, which `latchkey_panics_total` counts; please \
             report it. Where it is the database, the log says what to do.",
        ),
        ProblemCode::Unavailable => says(
            "The service cannot answer for the moment: its database is away, it has just started, or more passwords \
             wait to be checked than it can check.",
            "Wait as long as `Retry-After` says, in seconds, and try again. A refresh token that was sent is still good: \
             send the same one.",
            "The database does not answer; try again shortly.",
        )
        .operator("`GET /health/ready` says what is missing. `auth-service doctor` says more."),
        ProblemCode::RevocationStale => says(
            "The token may be good, but whether it was revoked cannot be known at the moment: what this service knows of \
             revocations is too old. It does not guess.",
            "Wait as long as `Retry-After` says, in seconds, and try again with the same token.",
            "Whether the token was revoked cannot be known at the moment; try again shortly.",
        )
        .operator(
            "The service cannot reach the feed of the auth-service, or that cannot read its database. \
             `GET /health/ready` says how old its knowledge is.",
        ),
    }
}
