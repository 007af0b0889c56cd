-- Lets a client finish writing a body that is too large. Most clients read nothing before they have written the whole
-- request, and would see a broken connection instead of the refusal. This filter drops what is over LIMIT, and marks
-- the request, so that the body check refuses it when the body is complete. If the body is larger than DRAINED, or its
-- announced length is, the request is refused at once.
--
-- The route puts LIMIT, in bytes, into the filter's context. DRAINED is FACTOR times LIMIT; the gateway puts FACTOR before
-- this code.

function envoy_on_request(handle)
  local LIMIT = handle:filterContext():get("limit")
  local DRAINED = LIMIT * FACTOR
  local announced = handle:headers():get("content-length")
  local length = announced and tonumber(announced)
  if length and length > DRAINED then
    return handle:respond({ [":status"] = "413" }, "")
  end
  if length and length <= LIMIT then
    return
  end
  local read, over = 0, false
  for chunk in handle:bodyChunks() do
    read = read + chunk:length()
    if read > DRAINED then
      -- This is more than the next filter accepts, so it refuses the request.
      chunk:setBytes(string.rep(" ", LIMIT + 1))
      return
    elseif read > LIMIT then
      chunk:setBytes("")
      if not over then
        over = true
        handle:streamInfo():dynamicMetadata():set("soma.drained", "over", true)
      end
    end
  end
end
