/** Why there is no answer. `code` is the server's problem code; or `network`, where nothing came or
 * what came is not the server's (`status` tells the two apart); or `signed-out`; or `superseded` for a
 * refresh that a login or logout overtook; or `cookie-refused` for a login whose cookie the browser did
 * not keep. */
export class LatchkeyError extends Error {
    /**
     * @param {string} code
     * @param {{ status?: number, retryAfter?: number, cause?: unknown,
     *   problem?: Record<string, any> }} [more]
     */
    constructor(code: string, { status, retryAfter, problem, cause }?: {
        status?: number;
        retryAfter?: number;
        cause?: unknown;
        problem?: Record<string, any>;
    });
    code: string;
    /** The HTTP status, where there was an answer, whoever gave it. */
    status: number | undefined;
    /** Seconds to wait before trying again, where the server named them. */
    retryAfter: number | undefined;
    /** The problem document (RFC 9457), with `violations` for a refused password. */
    problem: Record<string, any> | undefined;
    /** Whether the same request may succeed later, and says nothing about the session. */
    get transient(): boolean;
}
/** A person's session in this tab. Make one per page. */
export class Client extends EventTarget {
    /** @param {Options} [options] */
    constructor({ issuer, resources, lead, timeout, jitter }?: Options);
    /**
     * @template {keyof Events} T
     * @param {T} type
     * @param {(event: Events[T]) => void} listener
     * @returns {() => void} Removes the listener.
     */
    on<T extends keyof Events>(type: T, listener: (event: Events[T]) => void): () => void;
    /** What is known of the session now. @returns {Session} */
    get session(): Session;
    /**
     * Goes on with the session that the cookie belongs to, after the page was loaded or `ended`.
     * @returns {Promise<boolean>} Whether there is one.
     */
    restore(): Promise<boolean>;
    /** @param {Credentials} credentials @returns {Promise<void>} */
    login({ username, password, scope, resource, device }: Credentials): Promise<void>;
    /**
     * Ends this session, the person's others, or all. When it fails nothing was ended for certain and
     * this tab stays signed in.
     * @param {{ sessions?: 'current' | 'others' | 'all' }} [which]
     * @returns {Promise<void>}
     */
    logout({ sessions }?: {
        sessions?: "current" | "others" | "all";
    }): Promise<void>;
    /**
     * The Fetch API's `fetch` with the access token added. A token that is about to expire, or that
     * the service does not accept, is replaced first, once; and once more where the one in its place ran out
     * on the way, as it does when a laptop sleeps. Anything else that the service answers is
     * the caller's, a step-up challenge included. Rejects with a `LatchkeyError` when no token is to be had.
     * @param {RequestInfo | URL} input
     * @param {RequestInit} [init]
     * @returns {Promise<Response>}
     */
    fetch: (input: RequestInfo | URL, init?: RequestInit) => Promise<Response>;
    /**
     * "Stay signed in": uses the session, so that it ends later.
     * @returns {Promise<boolean>} False where that cannot be: at the absolute end, or when it is over.
     */
    extend(): Promise<boolean>;
    /** Lets go of everything; the session goes on. */
    close(): void;
    #private;
}
export function createClient(options?: Options): Client;
export type Options = {
    /**
     * Where the auth-service is, with its path if it has one; by default the page's origin.
     */
    issuer?: string | undefined;
    /**
     * Origins, besides the page's and the issuer's, that get the token.
     */
    resources?: string[] | undefined;
    /**
     * Seconds before the session's end at which `expiring` is sent; 120.
     */
    lead?: number | undefined;
    /**
     * Seconds that one refresh may take; 4.
     */
    timeout?: number | undefined;
    /**
     * Seconds over which tabs that wake up spread their refreshes; 1.
     */
    jitter?: number | undefined;
};
export type Credentials = {
    /**
     * A name or an e-mail address.
     */
    username: string;
    password: string;
    scope?: string | undefined;
    /**
     * The services that the session is to be for; all by default.
     */
    resource?: string | string[] | undefined;
    /**
     * What the list of sessions should call this browser.
     */
    device?: string | undefined;
};
/**
 * What is known of the session: the same object until something of it changes, as
 * `useSyncExternalStore` of React needs it. The seconds in it count down by themselves.
 */
export type Session = {
    /**
     * `unknown` until the server was asked.
     */
    state: "unknown" | "signed-in" | "signed-out";
    sessionId?: string | undefined;
    scope?: string | undefined;
    /**
     * Seconds that the access token has left.
     */
    accessExpiresIn?: number | undefined;
    /**
     * Seconds until the session ends unless it is used.
     */
    endsIn?: number | undefined;
    /**
     * Which of its limits that will be.
     */
    limit?: Limit | undefined;
};
export type Limit = "idle" | "absolute";
/**
 * Why a session is over. `logout`: here or in another tab. `ended`: from another device. `expired`:
 * see `limit`. `password`, `admin`, `disabled`, `reuse`, `limit` (of sessions that an account may
 * have): the server says so. `replaced`: another tab signed in anew; `restore()` joins it.
 * `cookie-lost`: the browser no longer has the cookie. `cookie-refused`: it never kept it, as it does where the
 * page and the issuer are different sites; the console says more. `invalid`: the server does not know the cookie.
 */
export type Reason = "logout" | "ended" | "expired" | "password" | "admin" | "disabled" | "reuse" | "limit" | "replaced" | "cookie-lost" | "cookie-refused" | "invalid";
export type Events = {
    signedin: CustomEvent<{
        sessionId: string;
        restored: boolean;
    }>;
    /**
     * `here`: it was
     * found out, or asked for, in this tab.
     */
    signedout: CustomEvent<{
        reason: Reason;
        limit?: Limit;
        here: boolean;
    }>;
    /**
     * The session ends soon:
     * `extend()` helps unless `limit` is `absolute`.
     */
    expiring: CustomEvent<{
        limit: Limit;
        expiresIn: number;
    }>;
    /**
     * There is more time again, thanks to this tab
     * or another: whatever `expiring` brought up can go.
     */
    refreshed: CustomEvent<{
        here: boolean;
    }>;
    /**
     * The announced end has passed. The server was not
     * asked, as that would be a use of the session: hide what should not be seen, and call `restore()`
     * when the person comes back.
     */
    ended: CustomEvent<{
        limit: Limit;
    }>;
};
/**
 * The server's answer to login and refresh; see its API.
 */
export type Answer = {
    access_token: string;
    expires_in: number;
    refresh_token_timeout: number;
    authorization_expires_in: number;
    scope: string;
    session_id: string;
};
/**
 * A moment by both clocks: the steady one may stand still while a laptop sleeps, and the other may
 * be set.
 */
export type Moment = {
    steady: number;
    wall: number;
};
