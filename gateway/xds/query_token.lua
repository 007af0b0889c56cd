-- Makes an Authorization header of `?token=`, as an EventSource of a browser can send no header of its own. A header that
-- was sent counts more. The token is taken out of the query in any case: nothing behind this may see it, and the
-- transcoder knows no parameter of that name. Of several the last counts, as of every parameter.

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
    -- What no token can be (RFC 6750, 2.1) goes into no header: it is refused as any that is not valid.
    headers:add("authorization", "Bearer " .. (string.find(token, "^[%w%-._~+/]+=*$") and token or "?"))
  end
end

function envoy_on_response(handle)
  -- A page that was opened at such an address tells it to nobody.
  handle:headers():replace("referrer-policy", "no-referrer")
end
