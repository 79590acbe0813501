local number = 0

function request()
  number = number + 1
  local path = wrk.path
  return wrk.format("GET", path .. (path:find("?", 1, true) and "&" or "?") .. "nth=" .. number)
end
