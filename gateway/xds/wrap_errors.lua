-- Gives errors of transcoded calls the shape of all errors over REST:
--   {"code":5,"message":m,"details":d}  becomes  {"error":{"code":404,"status":"NOT_FOUND","message":m,"details":d}}
-- The transcoder writes the code first, so the rest is not parsed. This filter also tells proxies not to buffer events.

local NAMES = {
  [1] = "CANCELLED", [2] = "UNKNOWN", [3] = "INVALID_ARGUMENT", [4] = "DEADLINE_EXCEEDED", [5] = "NOT_FOUND",
  [6] = "ALREADY_EXISTS", [7] = "PERMISSION_DENIED", [8] = "RESOURCE_EXHAUSTED", [9] = "FAILED_PRECONDITION",
  [10] = "ABORTED", [11] = "OUT_OF_RANGE", [12] = "UNIMPLEMENTED", [13] = "INTERNAL", [14] = "UNAVAILABLE",
  [15] = "DATA_LOSS", [16] = "UNAUTHENTICATED",
}

local function starts_with(text, prefix)
  return text ~= nil and string.sub(text, 1, #prefix) == prefix
end

-- Requests that only the server of a service finds too large: a message after it was made from JSON, or headers after
-- the server counted them. Each has its HTTP status, its reason, its message, and the beginning of gRPC's own message.
-- Without this their status would be 429, and clients would retry in vain.
local TOO_LARGE = {
  { 413, "PAYLOAD_TOO_LARGE", "the message is larger than allowed", "SERVER: Received message larger than max" },
  { 431, "HEADERS_TOO_LARGE", "the headers are larger than allowed", "received metadata size exceeds" },
}

-- The details of an error. gRPC's own errors have none, so this makes them.
local function details(reason)
  return '"details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"' .. reason
    .. '","domain":"soma","metadata":{}}]}'
end

function envoy_on_response(handle)
  local headers = handle:headers()
  local content_type = headers:get("content-type")
  -- Plain text is the gateway's own answer to a grpc-web call that was refused before it was translated.
  if starts_with(content_type, "application/grpc") or starts_with(content_type, "text/plain") then
    return
  end
  -- A REST client gets the HTTP status and the body; these headers would only repeat them.
  headers:remove("grpc-status")
  headers:remove("grpc-message")
  headers:remove("grpc-status-details-bin")
  headers:remove("grpc-accept-encoding")
  headers:remove("grpc-encoding")
  if starts_with(content_type, "text/event-stream") then
    -- The edge sends the same headers: a proxy must not hold an event back until others follow.
    headers:replace("x-accel-buffering", "no")
    headers:replace("cache-control", "no-cache")
  end
  local http = tonumber(headers:get(":status"))
  if http < 400 or not starts_with(content_type, "application/json") then
    return
  end
  local body = handle:body()
  if body == nil then
    return
  end
  -- Waiting for the body made the earlier handle to the headers invalid.
  headers = handle:headers()
  local text = body:getBytes(0, body:length())
  local code, rest = string.match(text, '^{"code":(%d+),(.*)$')
  if code == nil then
    return
  end
  for _, one in ipairs(TOO_LARGE) do
    local status, reason, message, words = unpack(one)
    if starts_with(rest, '"message":"' .. words) or string.find(rest, details(reason), 1, true) then
      http = status
      headers:replace(":status", tostring(status))
      rest = '"message":"' .. message .. '",' .. details(reason)
    end
  end
  local name = NAMES[tonumber(code)] or "UNKNOWN"
  rest = string.gsub(rest, '"details":%[%]}$', details(name))
  local length = body:setBytes('{"error":{"code":' .. http .. ',"status":"' .. name .. '",' .. rest .. "}")
  headers:replace("content-length", length)
end
