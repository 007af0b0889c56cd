-- Answers what a route refuses, as the route says. A route's own response would do, but the CORS filter passes those by,
-- and a page could not read them; and a path that is transcoded gets another route, which would take the call.
function envoy_on_request(handle)
  local context = handle:filterContext()
  local headers = { [":status"] = context:get("status") }
  headers["allow"] = context:get("allow")
  handle:respond(headers, context:get("text"))
end
