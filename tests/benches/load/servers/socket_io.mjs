// What the documentation of Socket.IO suggests: a room per user, and a map of what waits, flushed at a connection.
import { createServer } from 'node:http'
import { createRequire } from 'node:module'

const { Server } = createRequire(process.argv[2])('socket.io')
const waiting = new Map()
const SECONDS = 60

const http = createServer((request, response) => {
  if (request.method !== 'POST') return
  const parts = []
  request.on('data', (part) => parts.push(part))
  request.on('end', () => {
    const { user, payload } = JSON.parse(Buffer.concat(parts))
    if (io.sockets.adapter.rooms.has(user)) {
      io.to(user).emit('push', payload)
    } else {
      const queue = waiting.get(user)
      const message = { payload, ends: Date.now() + SECONDS * 1000 }
      if (queue) queue.push(message)
      else waiting.set(user, [message])
    }
    response.writeHead(202, { 'content-length': 0 })
    response.end()
  })
})

const io = new Server(http, { serveClient: false, perMessageDeflate: false })
io.on('connection', (socket) => {
  const { user } = socket.handshake.auth
  socket.join(user)
  const queue = waiting.get(user)
  if (!queue) return
  waiting.delete(user)
  for (const { payload, ends } of queue) if (ends > Date.now()) socket.emit('push', payload)
})

setInterval(() => {
  for (const [user, queue] of waiting) {
    while (queue.length > 0 && queue[0].ends <= Date.now()) queue.shift()
    if (queue.length === 0) waiting.delete(user)
  }
}, 1000)

http.keepAliveTimeout = 75_000
http.listen(0, '127.0.0.1', 4096, () => console.log(`listening on ${http.address().port}`))
