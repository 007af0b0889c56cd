-- Makes an Authorization header from `?token=`, because a browser's EventSource cannot send headers. If the client sent
-- a credential in a header, that one is used. The token is always removed from the query: no later filter or service
-- may see it, and the transcoder knows no parameter of that name. If there are several tokens, the last one is used, as
-- with every parameter.

local function unescaped(text)
  text = string.gsub(text, "+", " ")
  return (string.gsub(text, "%%(%x%x)", function(code)
    return string.char(tonumber(code, 16))
  end))
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local path, query = string.match(headers:get(":path"), "^([^?]*)%?(.*)$")
  if not query then
    return
  end
  local token
  local others = {}
  for parameter in string.gmatch(query, "[^&]+") do
    local name, value = string.match(parameter, "^([^=]*)=?(.*)$")
    if unescaped(name) == "token" then
      token = unescaped(value)
    else
      others[#others + 1] = parameter
    end
  end
  if not token then
    return
  end
  headers:replace(":path", #others > 0 and path .. "?" .. table.concat(others, "&") or path)
  if token ~= "" and not headers:get("authorization") and not headers:get("x-api-key") then
    -- Text that cannot be a token (RFC 6750, 2.1) is not put into a header. `?` is sent instead, which is not valid.
    headers:add("authorization", "Bearer " .. (string.find(token, "^[%w%-._~+/]+=*$") and token or "?"))
  end
end

function envoy_on_response(handle)
  -- The token is in the address: a browser must not send it to other sites as the referrer.
  handle:headers():replace("referrer-policy", "no-referrer")
end
