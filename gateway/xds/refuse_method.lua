-- Answers a path that is asked in a way it does not take. A route's own response would do, but the CORS filter passes
-- those by, and a page could not read them.
function envoy_on_request(handle)
  local context = handle:filterContext()
  local text = context:get("template") .. " takes " .. context:get("allow")
  handle:respond({ [":status"] = "405", ["allow"] = context:get("allow") }, text)
end
