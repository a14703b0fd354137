-- Heap: binary heaps, each ordered by the function it is given.
-- Uses: nothing
-- Gives: push, sink, pop
local floor = math.floor

-- Puts an item where i is, or above.
local function rise(heap, i, item, before)
  while i > 1 do
    local parent = floor(i / 2)
    if not before(item, heap[parent]) then break end
    heap[i] = heap[parent]
    i = parent
  end
  heap[i] = item
end
local function push(heap, item, before) rise(heap, #heap + 1, item, before) end
-- Moves the top down to its place.
local function sink(heap, before)
  local i, size = 1, #heap
  while true do
    local least, left = i, 2 * i
    if left <= size and before(heap[left], heap[least]) then least = left end
    if left < size and before(heap[left + 1], heap[least]) then least = left + 1 end
    if least == i then return end
    heap[i], heap[least] = heap[least], heap[i]
    i = least
  end
end
-- The last item, which mostly belongs near the bottom, is put there and rises: that compares less than letting it sink.
local function pop(heap, before)
  local top, size = heap[1], #heap - 1
  local last = heap[size + 1]
  heap[size + 1] = nil
  if size < 1 then return top end
  local i, child = 1, 2
  while child <= size do
    if child < size and before(heap[child + 1], heap[child]) then child = child + 1 end
    heap[i] = heap[child]
    i, child = child, 2 * child
  end
  rise(heap, i, last, before)
  return top
end

return { push = push, sink = sink, pop = pop }
