-- Heap: binary heaps, each ordered by the function it is given.
-- Uses: nothing
-- Gives: push, sink, pop
local function push(heap, item, before)
  local i = #heap + 1
  heap[i] = item
  while i > 1 do
    local parent = math.floor(i / 2)
    if not before(heap[i], heap[parent]) then break end
    heap[i], heap[parent] = heap[parent], heap[i]
    i = parent
  end
end
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
local function pop(heap, before)
  local top, size = heap[1], #heap
  heap[1] = heap[size]
  heap[size] = nil
  sink(heap, before)
  return top
end

return { push = push, sink = sink, pop = pop }
