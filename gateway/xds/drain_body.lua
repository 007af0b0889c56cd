-- Lets a client finish writing a body that is too large: most read nothing before they have, and would see a broken
-- connection in place of the refusal. What is over LIMIT is dropped here, and the body check, which sees a body when
-- it is complete, is told to refuse. Over DRAINED, or announced to be, the refusal comes at once.
--
-- The route says LIMIT in the filter's context; FACTOR, which stands in front of this code, times LIMIT is DRAINED.

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
      -- More than the next filter takes.
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
