AUTH=http://127.0.0.1:8080 API=http://127.0.0.1:8081 JSON='content-type: application/json'
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }

# Log in: a short-lived access token and a refresh token.
ANSWER=$(curl -s $AUTH/login -H "$JSON" -d '{"username":"demo","password":"open sesame, but only here"}')
ACCESS=$(echo "$ANSWER" | field access_token) FIRST=$(echo "$ANSWER" | field refresh_token)

# Call a service. It verifies the token on its own.
curl -s $API/whoami -H "authorization: Bearer $ACCESS"; echo

# Refresh: the token is spent, and its successor takes its place.
SECOND=$(curl -s $AUTH/refresh -H "$JSON" -d "{\"refresh_token\":\"$FIRST\"}" | field refresh_token)

# The reply was lost? Within 30 seconds the spent token gets the same successor, and so does the
# successor itself: a session rotates at most once in that time.
AGAIN=$(curl -s $AUTH/refresh -H "$JSON" -d "{\"refresh_token\":\"$FIRST\"}" | field refresh_token)
STILL=$(curl -s $AUTH/refresh -H "$JSON" -d "{\"refresh_token\":\"$SECOND\"}" | field refresh_token)
[ -n "$SECOND" ] && [ "$AGAIN $STILL" = "$SECOND $SECOND" ] && echo "the same successor"

# Log out: 204. A moment later the service refuses the access token, although it has not expired.
curl -s -o /dev/null -w '%{http_code}\n' $AUTH/logout -H "$JSON" -d "{\"refresh_token\":\"$SECOND\"}"
sleep 0.5
curl -s -o /dev/null -w '%{http_code}\n' $API/whoami -H "authorization: Bearer $ACCESS"
curl -s $AUTH/refresh -H "$JSON" -d "{\"refresh_token\":\"$SECOND\"}"; echo
