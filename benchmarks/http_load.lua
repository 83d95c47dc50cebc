-- The load of `http` for wrk: our own batches, every event's id its own. Arguments: a prefix of ids, events a batch.
local prefix, size, count = "p", 2, 0
local first = '{"key":"wk_shop","sent":%d,"anonymous_id":"%s%06d","batch":['
local event = '{"id":"%s%08x-%d","type":"page_view","time":%d,"properties":{"page_url":"https://shop.example/articles/%d",'
  .. '"title":"How to choose a tent","referrer":"https://search.example/","category":"camping"},'
  .. '"context":{"session_id":"s%06d","session_step":%d,"screen":"1920x1080"}}'

function init(args)
  prefix, size = args[1] or prefix, tonumber(args[2] or size)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "text/plain"
  wrk.headers["Origin"] = "https://shop.example"
end

function request()
  count = count + 1
  local now = 1700000000000 + count
  local visitor = count % 20000
  local parts = {string.format(first, now, prefix, visitor)}
  for place = 1, size do
    parts[#parts + 1] = string.format(event, prefix, count, place, now, count % 300, visitor, place)
    if place < size then parts[#parts + 1] = "," end
  end
  parts[#parts + 1] = "]}"
  return wrk.format(nil, nil, nil, table.concat(parts))
end
