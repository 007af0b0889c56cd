-- Refuses a request whose body was not let in. Envoy gives this status, which no service uses, the form of the protocol.

function envoy_on_request(handle)
  local admission = handle:streamInfo():dynamicMetadata():get("soma.admission")
  if admission and admission.refused then
    handle:respond({ [":status"] = "529" }, "")
  end
end
