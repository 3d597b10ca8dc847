"""What schemathesis cannot know: who may log in, and tokens that are good.

Every operation is tried. Most requests are made up by schemathesis and are sent as they are. Made-up
tokens, passwords and ids are never right, so of some operations every third request that is well-formed
gets right ones here; without that nothing but refusals would be compared with the document.
"""

import functools
import itertools
import os
import time

import requests
import schemathesis

AUTH = os.environ["LATCHKEY_AUTH"]
BASE = os.environ["LATCHKEY_BASE"]
PASSWORD = os.environ["LATCHKEY_PASSWORD"]
ADMIN_SCOPES = (
    "latchkey:users:read latchkey:users:write latchkey:sessions:end latchkey:keys latchkey:audit:read"
)

numbers = itertools.count(1)
turns = {}


def post(path, body, expected):
    answer = requests.post(AUTH + path, json=body, timeout=30)
    while answer.status_code == 429:
        time.sleep(int(answer.headers["retry-after"]))
        answer = requests.post(AUTH + path, json=body, timeout=30)
    assert answer.status_code == expected, f"{path}: {answer.status_code} {answer.text}"
    return answer.json()


class Account:
    """Somebody who is logged in, and logs in again where a request has ended their session."""

    def me(self):
        bearer = {"authorization": f"Bearer {self.tokens['access_token']}"}
        return requests.get(AUTH + "/me", headers=bearer, timeout=30)

    def access(self):
        """A good access token."""
        if self.me().status_code != 200:
            self.tokens = self.log_in()
        return self.tokens["access_token"]


class Person(Account):
    """A user of their own, so that what one operation ends is nothing that another one needs."""

    def __init__(self):
        self.name = f"person-{os.getpid()}-{next(numbers)}"
        self.password = PASSWORD
        account = post("/register", {"username": self.name, "password": self.password}, 201)
        self.id = account["user"]["id"]
        self.tokens = self.log_in()

    def log_in(self):
        return post("/login", {"username": self.name, "password": self.password}, 200)


class Administrator(Account):
    """The one whom the command line has made. Their token is for the auth-service alone."""

    def __init__(self):
        metadata = requests.get(AUTH + "/.well-known/oauth-authorization-server", timeout=30)
        self.issuer = metadata.json()["issuer"]
        self.tokens = self.log_in()
        self.id = self.me().json()["id"]

    def log_in(self):
        who = {"username": "root", "password": PASSWORD}
        return post("/login", {**who, "resource": self.issuer, "scope": ADMIN_SCOPES}, 200)


@functools.cache
def administrator():
    return Administrator()


def is_of_administrators(operation):
    return " /admin/v1/" in operation


people = {}


def person(operation):
    # Whoever was deleted is nobody any more.
    if operation == "DELETE /me" and operation in people:
        if people[operation].me().status_code == 401:
            del people[operation]
    if operation not in people:
        people[operation] = Person()
    return people[operation]


# Not cached: schemathesis would use one person's token for all operations.
@schemathesis.auth(refresh_interval=None)
class Bearer:
    """The access token of the operation's person, for operations that take one."""

    def get(self, case, context):
        label = case.operation.label
        return (administrator() if is_of_administrators(label) else person(label)).access()

    def set(self, case, data, context):
        if "bearer" in str(case.operation.definition.raw.get("security", "")):
            case.headers["authorization"] = f"Bearer {data}"


def refresh(case):
    # Only the service can make a refresh token.
    case.body["refresh_token"] = person("refresh").log_in()["refresh_token"]
    # Nothing that is made up is a service.
    case.body.pop("resource", None)


def logout(case):
    case.body["refresh_token"] = person("logout").log_in()["refresh_token"]


def login(case):
    # Nobody has the made-up names.
    case.body["username"] = person("login").name
    case.body["password"] = PASSWORD
    case.body.pop("scope", None)
    case.body.pop("resource", None)
    case.body.pop("device", None)


def register(case):
    # Made-up passwords are too short; made-up names are mostly none.
    case.body.update(username=f"newcomer-{os.getpid()}-{next(numbers)}", password=PASSWORD)
    case.body.pop("email", None)


def change_password(case):
    # Nobody has the made-up passwords.
    who = person(case.operation.label)
    new = f"{PASSWORD}, number {next(numbers)}"
    case.body.update(current_password=who.password, new_password=new)


def sessions(case):
    # Nobody has the made-up places.
    if case.query:
        case.query.pop("after", None)


def end_session(case):
    # A session of their own has an id that cannot be guessed.
    case.path_parameters["id"] = person(case.operation.label).log_in()["session_id"]


def remove_report(case):
    # The same of reports.
    bearer = {"authorization": f"Bearer {person(case.operation.label).access()}"}
    report = requests.post(BASE + "/reports", json={"title": "x"}, headers=bearer, timeout=30)
    case.path_parameters["id"] = report.json()["id"]


def problem(case):
    case.path_parameters["code"] = "csrf"


def about_somebody(case):
    case.path_parameters["id"] = person(case.operation.label).id


def create_user(case):
    register(case)
    case.body["roles"] = ["editor"]


def change_user(case):
    about_somebody(case)
    # Made-up names and roles are mostly none.
    case.body.pop("username", None)
    case.body.pop("email", None)
    case.body["roles"] = ["editor"]


def delete_user(case):
    # Everybody once.
    people.pop(case.operation.label, None)
    about_somebody(case)


def set_password(case):
    about_somebody(case)
    case.body["password"] = f"{PASSWORD}, number {next(numbers)}"


def revoke_key(case):
    bearer = {"authorization": f"Bearer {administrator().access()}"}
    keys = requests.get(BASE + "/admin/v1/keys", headers=bearer, timeout=30).json().get("keys", [])
    waiting = [key["id"] for key in keys if key["state"] in ("published", "retiring")]
    if waiting:
        case.path_parameters["id"] = waiting[-1]


RIGHT = {
    "POST /refresh": refresh,
    "POST /logout": logout,
    "POST /login": login,
    "POST /register": register,
    "POST /password": change_password,
    "GET /sessions": sessions,
    "DELETE /sessions/{id}": end_session,
    "DELETE /reports/{id}": remove_report,
    "GET /problems/{code}": problem,
    "GET /admin/v1/users/{id}": about_somebody,
    "GET /admin/v1/users/{id}/export": about_somebody,
    "GET /admin/v1/users/{id}/sessions": about_somebody,
    "DELETE /admin/v1/users/{id}/sessions": about_somebody,
    "POST /admin/v1/users": create_user,
    "PATCH /admin/v1/users/{id}": change_user,
    "DELETE /admin/v1/users/{id}": delete_user,
    "PUT /admin/v1/users/{id}/password": set_password,
    "DELETE /admin/v1/sessions/{id}": end_session,
    "DELETE /admin/v1/keys/{id}": revoke_key,
}


def well_formed(case):
    """Whether schemathesis meant it to be, so that putting something right does not hide a wrong."""
    meta = case.meta
    return meta is not None and meta.generation.mode.name == "POSITIVE"


@schemathesis.hook
def filter_case(context, case):
    # A header that no document names is no fault (RFC 9110 5.1), though schemathesis takes it for one.
    return "x-schemathesis-unknown-property" not in (case.headers or {})


@schemathesis.hook
def before_call(context, case, kwargs):
    label = case.operation.label
    # Values of answers come back in later requests. Whoever asks here must not put an end to themselves.
    if is_of_administrators(label) and "/users/{id}" in label:
        if (case.path_parameters or {}).get("id") == administrator().id:
            about_somebody(case)
    right = RIGHT.get(label)
    if right is None or not well_formed(case) or case.method != case.operation.method.upper():
        return
    if case.operation.body and not isinstance(case.body, dict):
        return
    turns[label] = turns.get(label, 0) + 1
    if turns[label] % 3 == 1:
        right(case)


@schemathesis.hook
def after_call(context, case, response):
    # Also where schemathesis made the request up.
    if case.operation.label == "PATCH /me" and response.status_code == 200:
        account = response.json()
        person(case.operation.label).name = account["username"] or account["email"]
    if case.operation.label == "POST /password" and response.status_code == 204:
        person(case.operation.label).password = case.body["new_password"]
