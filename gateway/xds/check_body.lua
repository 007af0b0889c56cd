-- Refuses a JSON body that the transcoder would accept but understand differently than its author:
--   - a field that the contract does not have, which the transcoder would drop;
--   - a field that is given twice, of which the transcoder would use the last;
--   - invalid JSON: the transcoder accepts trailing commas, single quotes, and names without quotes;
--   - nesting that is too deep: a receiver of protobuf refuses it too, but later and without a message;
--   - a number that would be stored as another number: free-form JSON (google.protobuf.Value) is stored with doubles,
--     which cannot represent every whole number beyond 2^53.
-- The transcoder checks the types, and the service checks the rules of the contract.
--
-- The gateway puts the table MESSAGES before this code: message -> spelling of a field -> {name of the field, its
-- message or false}. Free-form JSON is the message JSON: its fields may have any name, and hold free-form JSON.
-- The filter context of a route names the message of its body.

local byte, find, gsub, sub = string.byte, string.find, string.gsub, string.sub

-- One level of free-form JSON takes up to three levels of protobuf, and protobuf allows 100.
local DEEPEST = 32

local JSON = "google.protobuf.Value"
-- 2^53. Beyond it, some whole numbers are not doubles.
local LARGEST_WHOLE = "9007199254740992"

-- The body, the position in it, the depth of that position, and for each level the name of the member, or the index
-- of the element (from 0).
local text, at, depth, way

local function path()
  local steps = {}
  for level = 1, depth do
    local step = way[level]
    if type(step) == "number" then
      steps[#steps + 1] = "[" .. step .. "]"
    elseif step then
      steps[#steps + 1] = (#steps > 0 and "." or "") .. step
    end
  end
  return table.concat(steps)
end

local function refuse(reason, why)
  local field = path()
  error({ reason = reason, field = field, message = (field == "" and '""' or field) .. ": " .. why }, 0)
end

local function malformed(expected)
  local place = at > #text and "where the body ends" or "at byte " .. at
  error({ reason = "MALFORMED_JSON", message = "the body is no JSON: expected " .. expected .. " " .. place }, 0)
end

-- Skips white space and returns the byte after it.
local function here()
  local char = byte(text, at)
  while char == 32 or char == 10 or char == 13 or char == 9 do
    at = at + 1
    char = byte(text, at)
  end
  return char
end

-- Reads byte by byte, because LuaJIT compiles that into fast code. The transcoder checks the escapes.
local function skip_string()
  local i = at + 1
  local char = byte(text, i)
  while char ~= 34 do
    if char == nil or char < 32 then
      at = i
      malformed("the end of a string, and no control character,")
    end
    i = i + (char == 92 and 2 or 1)
    char = byte(text, i)
  end
  at = i + 1
end

local function unescaped(name)
  name = gsub(name, "\\u00([0-7]%x)", function(code)
    return string.char(tonumber(code, 16))
  end)
  return (gsub(name, "\\(.)", "%1"))
end

local function name()
  if here() ~= 34 then
    malformed("a name in double quotes")
  end
  local first = at + 1
  skip_string()
  local found = sub(text, first, at - 2)
  if here() ~= 58 then
    malformed("a colon")
  end
  at = at + 1
  return find(found, "\\", 1, true) and unescaped(found) or found
end

-- Whether a whole number is at most 2^53. Compares text, because a conversion to a number would round it.
local function exact(whole)
  local digits = #whole
  return digits < #LARGEST_WHOLE or digits == #LARGEST_WHOLE and whole <= LARGEST_WHOLE
end

local function skip_number(held)
  local first = at
  local _, last = find(text, "^-?%d+", at)
  if not last or find(text, "^-?0%d", at) then
    malformed("a number")
  end
  local _, fraction = find(text, "^%.%d+", last + 1)
  local _, exponent = find(text, "^[eE][+-]?%d+", (fraction or last) + 1)
  at = (exponent or fraction or last) + 1
  -- Most numbers are short and have no exponent, and need no further check.
  if at - first < #LARGEST_WHOLE and not exponent then
    return
  end
  local number = sub(text, first, at - 1)
  local shown = #number > 40 and sub(number, 1, 40) .. "..." or number
  if math.abs(tonumber(number)) == math.huge then
    refuse("NUMBER_OUT_OF_RANGE", shown .. " is larger than any number can be")
  elseif held == JSON and last + 1 == at and not exact(string.match(number, "%d+")) then
    refuse("NUMBER_NOT_EXACT", shown .. " would be kept as another number, as whole ones beyond 2^53 are: send text")
  end
end

local WORDS = { [116] = "true", [102] = "false", [110] = "null" }

local value

local function enter()
  if depth == DEEPEST then
    refuse("TOO_DEEP", "nested deeper than " .. DEEPEST .. " levels")
  end
  depth = depth + 1
  way[depth] = false
  at = at + 1
end

local function leave()
  depth = depth - 1
  at = at + 1
end

local function object(held)
  local fields = held and MESSAGES[held]
  local of_any_name = fields and fields["*"]
  local seen = {}
  enter()
  if here() == 125 then
    return leave()
  end
  while true do
    local spelled = name()
    local field = of_any_name or fields and fields[spelled]
    way[depth] = spelled
    if fields and not field then
      refuse("UNKNOWN_FIELD", "the contract has no such field")
    end
    local known_as = fields and not of_any_name and field[1] or spelled
    if seen[known_as] then
      refuse("DUPLICATE_FIELD", "given twice")
    end
    seen[known_as] = true
    value(field and field[2])
    local char = here()
    if char == 125 then
      return leave()
    elseif char ~= 44 then
      malformed("a comma or closing brace")
    end
    at = at + 1
  end
end

local function array(held)
  enter()
  if here() == 93 then
    return leave()
  end
  local index = 0
  while true do
    way[depth] = index
    value(held)
    local char = here()
    if char == 93 then
      return leave()
    elseif char ~= 44 then
      malformed("a comma or closing bracket")
    end
    at = at + 1
    index = index + 1
  end
end

function value(held)
  local char = here()
  if char == 34 then
    skip_string()
  elseif char == 123 then
    object(held)
  elseif char == 91 then
    array(held)
  elseif WORDS[char] then
    local word = WORDS[char]
    if sub(text, at, at + #word - 1) ~= word then
      malformed("a value")
    end
    at = at + #word
  elseif char == 45 or char and char >= 48 and char <= 57 then
    skip_number(held)
  else
    malformed("a value")
  end
end

local function check(body, held)
  text, at, depth, way = body, 1, 0, {}
  value(held)
  if here() then
    malformed("the end of the body")
  end
end

local function answer(handle, status, refused)
  local metadata = handle:streamInfo():dynamicMetadata()
  metadata:set("soma.refused", "reason", refused.reason)
  if refused.field then
    metadata:set("soma.refused", "field", refused.field)
  end
  handle:respond({ [":status"] = status }, refused.message)
end

function envoy_on_request(handle)
  if handle:streamInfo():dynamicMetadata():get("soma.drained") then
    return handle:respond({ [":status"] = "413" }, "")
  end
  local encoding = handle:headers():get("content-encoding")
  if encoding and encoding ~= "identity" then
    local refused = { reason = "UNSUPPORTED_ENCODING", message = "send the body as it is: no content-encoding is read" }
    return answer(handle, "415", refused)
  end
  local body = handle:body()
  if not body then
    return
  end
  local fine, refused = pcall(check, body:getBytes(0, body:length()), handle:filterContext():get("message"))
  text = nil
  if not fine then
    if type(refused) ~= "table" then
      error(refused, 0)
    end
    answer(handle, "400", refused)
  end
end
