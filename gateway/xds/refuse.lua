-- Answers requests on routes that refuse them; the filter context of the route has the answer. A direct response of the
-- route is not enough: the CORS filter does not handle direct responses, so a page could not read them. And a
-- transcoded path gets another route afterwards, which would accept the call.
function envoy_on_request(handle)
  local context = handle:filterContext()
  local headers = { [":status"] = context:get("status") }
  headers["allow"] = context:get("allow")
  handle:respond(headers, context:get("text"))
end
