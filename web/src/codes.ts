/** What a code means and what to do about it. Numbers and reasons are those of the client protocol. */

export interface Meaning {
  title: string;
  advice: string;
}

const CLOSE: Record<number, [string, string]> = {
  0: ["You disconnected", "Nothing is wrong: disconnect was called here."],
  1: ["Unauthorised", "The token has expired or is not valid yet, and there is no way to get another. Paste a fresh token, or give the SDK a getToken callback."],
  2: ["Bad protocol", "The peer did not speak this protocol. Check the URL, and JSON against Protobuf."],
  3: ["Message too large", "A message was over the size limit. Raise websocket.message_size_limit or send less."],
  109: ["Token expired", "The token's exp has passed, or its nbf is still ahead. Sign a new token; check the clocks of both machines."],
  110: ["Credentials expired", "What the backend answered had already expired on arrival."],
  3000: ["Connection closed", "The server closed the connection without a special reason. The SDK reconnects."],
  3001: ["Server is shutting down", "A restart or a deployment. The SDK reconnects, elsewhere if there are several nodes."],
  3004: ["Internal server error", "Something failed on the server: its log says what. The SDK reconnects."],
  3005: ["Connection expired", "The token's exp passed and no refresh came within client.expired_close_delay. Give the SDK getToken, or sign tokens that live longer."],
  3006: ["Subscription expired", "A server-side subscription expired and was not refreshed. The SDK reconnects."],
  3008: ["Too slow", "This client did not read fast enough: more than client.queue_max_size bytes were waiting."],
  3009: ["Write error", "The server could not write to the socket. The SDK reconnects."],
  3010: ["Position lost", "The server saw a gap in a server-side subscription. The SDK reconnects and recovers."],
  3011: ["Asked to reconnect", "The server wants a new connection. The SDK reconnects."],
  3012: ["No pong", "The server's ping was not answered within client.pong_timeout. A sleeping tab or a broken network."],
  3013: ["Too many requests", "A rate limit was exceeded. The SDK reconnects later."],
  3014: ["State invalidated", "Token and saved positions are void. The SDK asks for a new token and starts afresh."],
  3500: ["Invalid token", "The signature or a claim is wrong: usually another secret than client.token.hmac_secret_key, or a token changed on its way. The claims under the token may show it. The SDK does not reconnect."],
  3501: ["Bad request", "A malformed command, or no credentials at all. Paste a token, or set client.allow_anonymous_connect_without_token."],
  3502: ["Stale", "The connection did not log in within client.stale_close_delay."],
  3503: ["Disconnected by the backend", "The server API's disconnect was called for this user. The SDK does not reconnect."],
  3504: ["Connection limit", "This user has too many connections, or a newer one replaced this one."],
  3505: ["Channel limit", "The token or the backend asks for more channels than client.channel_limit."],
  3506: ["Inappropriate protocol", "This transport cannot carry what was asked. Try the other protocol."],
  3507: ["Permission denied", "An anonymous token, and client.disallow_anonymous_connection_tokens is set."],
  3508: ["Not available", "The server has no handler for this command."],
  3509: ["Too many errors", "This connection caused too many errors and was closed for good."],
};

const CONNECTING: Record<number, [string, string]> = {
  1: ["Transport closed", "The connection could not be made or broke. Is the server running at this URL? If it refuses with 403, this page's origin is missing in client.allowed_origins. Trying again."],
  2: ["No ping", "The server's pings stopped coming. Trying again."],
  3: ["Subscribe timed out", "A subscribe command got no answer in time. Trying again."],
  4: ["Unsubscribe failed", "Trying again on a new connection."],
};

const UNSUBSCRIBED: Record<number, [string, string]> = {
  0: ["You unsubscribed", "Nothing is wrong: unsubscribe was called here."],
  1: ["Unauthorised", "The subscription token has expired or is not valid yet, and there is no way to get another."],
  2: ["Client closed", "The connection ended, and its subscriptions with it."],
  2000: ["Unsubscribed by the backend", "The server API's unsubscribe was called. The SDK does not subscribe again."],
  2500: ["Position lost", "The server saw a gap in the stream. The SDK subscribes again and recovers."],
  2501: ["Subscription expired", "The subscription token expired and was not refreshed."],
  2502: ["State invalidated", "The saved position is void. The SDK starts afresh."],
};

const ERROR: Record<number, [string, string]> = {
  1: ["Timed out", "No answer within five seconds."],
  2: ["Transport closed", "The connection could not be made or broke."],
  3: ["Not connected", "Connect first."],
  4: ["Connection closed", "The connection ended before the answer came."],
  7: ["Not subscribed", "Subscribe first."],
  12: ["No refresh callback", "The token has expired and the SDK has no getToken to ask for a new one."],
  100: ["Internal server error", "Something failed on the server: its log says what."],
  101: ["Unauthorised", "The server asks for credentials."],
  102: ["Unknown channel", "The part before the first colon names a namespace that is not configured."],
  103: ["Permission denied", "The channel's options do not allow this. See allow_subscribe_for_client, allow_publish_for_client and their kin; a channel that begins with $ needs a subscription token."],
  104: ["Method not found", "No RPC of this name is configured."],
  105: ["Already subscribed", "This connection has this channel already, perhaps from the server's side."],
  106: ["Limit exceeded", "More channels than client.channel_limit."],
  107: ["Bad request", "The channel name, the data, the filter or a limit is not acceptable."],
  108: ["Not available", "The feature is off for this channel: presence, history_size with history_ttl, and so on."],
  109: ["Token expired", "The token's exp has passed, or its nbf is still ahead."],
  110: ["Expired", "The credentials had already expired on arrival."],
  111: ["Too many requests", "A rate limit was exceeded; try again."],
  112: ["Unrecoverable position", "The history no longer reaches back to the asked position."],
  113: ["Concurrent pagination", "The same pages are being read already; try again."],
};

function lookUp(table: Record<number, [string, string]>, code: number, reason: string, otherwise: string): Meaning {
  const known = table[code];
  return known ? { title: known[0], advice: known[1] } : { title: reason || `Code ${code}`, advice: otherwise };
}

export function explainDisconnect(code: number, reason: string): Meaning {
  const reconnects = (code >= 3000 && code < 3500) || (code >= 4000 && code < 4500) || code >= 5000;
  const range = code >= 4000 && code < 5000 ? "A code of your application's own. " : "";
  // Before login the server may also answer with an error, and the SDK hands its code on.
  const table = code > 99 && code < 3000 ? ERROR : CLOSE;
  return lookUp(CLOSE[code] ? CLOSE : table, code, reason, `${range}The SDK ${reconnects ? "reconnects" : "does not reconnect"}.`);
}

export function explainConnecting(code: number, reason: string): Meaning {
  return CONNECTING[code] ? lookUp(CONNECTING, code, reason, "") : explainDisconnect(code, reason);
}

export function explainUnsubscribed(code: number, reason: string): Meaning {
  const table = code >= 100 && code < 2000 ? ERROR : UNSUBSCRIBED;
  return lookUp(table, code, reason, code >= 2500 ? "The SDK subscribes again." : "The SDK does not subscribe again.");
}

export function explainError(code: number, message: string): Meaning {
  return lookUp(ERROR, code, message, code >= 400 && code < 2000 ? "An error of your application's own." : "");
}
