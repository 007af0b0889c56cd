-- Repeats one request, checks every answer, and prints one line of JSON at the end.
-- Arguments: key, file of the body (empty for a GET), text that an answer must hold, milliseconds between an answer and the next
-- request, whether each request has its own connection, and digits in the body in whose places each request has its own number.

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  wrong = 0
  expected = arguments[3]
  wrk.headers["authorization"] = "Bearer " .. arguments[1]
  local file = assert(io.open(arguments[2], "rb"))
  local body = file:read("*a")
  file:close()
  if body ~= "" then
    wrk.method = "POST"
    wrk.headers["content-type"] = "application/json"
    wrk.body = body
  end
  local pause = tonumber(arguments[4])
  if pause > 0 then
    delay = function()
      return pause
    end
  end
  if arguments[5] == "fresh" then
    wrk.headers["connection"] = "close"
  end
  if arguments[6] and arguments[6] ~= "" then
    count(body, arguments[6])
  end
end

function count(body, digits)
  local parts = {}
  local from = 1
  for first, last in function() return body:find(digits, from, true) end do
    table.insert(parts, body:sub(from, first - 1))
    from = last + 1
  end
  table.insert(parts, body:sub(from))
  local number = 0
  request = function()
    number = number + 1
    return wrk.format(nil, nil, nil, table.concat(parts, string.format("%0" .. #digits .. "d", number)))
  end
end

function response(status, headers, body)
  if status ~= 200 or not body:find(expected, 1, true) then
    wrong = wrong + 1
  end
end

function done(summary, latency, requests)
  local wrongs = 0
  for _, thread in ipairs(threads) do
    wrongs = wrongs + thread:get("wrong")
  end
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %f, "wrong": %d, "lost": %d, "median_ms": %f, "p99_ms": %f}\n',
    summary.requests, summary.duration / 1e6, wrongs,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
