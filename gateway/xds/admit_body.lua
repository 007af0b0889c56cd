-- Limits the bytes of large bodies that are in progress: those that arrive, and those whose answer has not begun. What
-- does not fit into BUDGET is dropped as it arrives, so that the client can finish writing, and `refuse_busy.lua`
-- refuses the request when it is complete. One large body is always let in.
--
-- LARGE, BUDGET, UNKNOWN and MOST, in bytes, stand in front of this code. A body that does not say how long it is counts
-- as UNKNOWN once it is larger than LARGE. No route takes a body larger than MOST.

-- Compiled code would keep the iterator of a body for good, and with it the handle of a request that has ended.
jit.off()

local taken = 0
-- By the number that a request has in its metadata. The references are weak, so a slot lives as long as its request.
local slots = setmetatable({}, { __mode = "v" })
local last = 0

local function release(slot)
  taken = taken - slot.bytes
  slot.bytes = 0
end

local function fits(bytes)
  return taken == 0 or taken + bytes <= BUDGET
end

local function refuse(handle)
  handle:streamInfo():dynamicMetadata():set("soma.admission", "refused", true)
  return false
end

local function admit(handle, bytes)
  if not fits(bytes) then
    -- The slots of clients that went away are released when they are collected.
    collectgarbage()
    if not fits(bytes) then
      return refuse(handle)
    end
  end
  taken = taken + bytes
  last = last + 1
  local slot = { bytes = bytes }
  slot.end_of_request = newproxy(true)
  getmetatable(slot.end_of_request).__gc = function()
    release(slot)
  end
  slots[last] = slot
  -- Envoy keeps the handle until the request ends, whether it is answered or reset, and calls nothing in the second
  -- case. So the handle keeps the slot.
  debug.setfenv(handle, slot)
  handle:streamInfo():dynamicMetadata():set("soma.admission", "slot", tostring(last))
  return true
end

-- The length that a gRPC message states in its prefix, with the prefix; nil if the body is no such message.
local function stated(handle, chunk)
  local content = handle:headers():get("content-type")
  if content and content:sub(1, 16) == "application/grpc" and chunk:length() >= 5 then
    local _, a, b, c, d = chunk:getBytes(0, 5):byte(1, 5)
    return ((a * 256 + b) * 256 + c) * 256 + d + 5
  end
end

function envoy_on_request(handle)
  local length = tonumber(handle:headers():get("content-length") or "")
  if length and length <= LARGE then
    return
  end
  -- Nil until the body is known to be large.
  local admitted
  local room = 0
  local function ask(bytes)
    room = math.min(bytes, MOST)
    admitted = admit(handle, room)
  end
  if length then
    ask(length)
  end
  local read = 0
  for chunk in handle:bodyChunks() do
    if read == 0 and admitted == nil then
      local message = stated(handle, chunk)
      if message and message > LARGE then
        ask(message)
      end
    end
    read = read + chunk:length()
    if admitted == nil and read > LARGE then
      ask(UNKNOWN)
    elseif admitted and read > room and room < UNKNOWN then
      -- It is longer than it stated.
      admitted = refuse(handle)
    end
    if admitted == false and read > MOST then
      -- More than the next filter takes: it ends a request that does not end by itself.
      chunk:setBytes(string.rep(" ", MOST + 1))
      return
    elseif admitted == false then
      chunk:setBytes("")
    end
  end
end

function envoy_on_response(handle)
  local admission = handle:streamInfo():dynamicMetadata():get("soma.admission")
  local slot = admission and admission.slot and slots[tonumber(admission.slot)]
  if slot then
    release(slot)
  end
end
