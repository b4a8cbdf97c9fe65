/**
 * A `dgram` socket as UDP links want it: large buffers, addresses that need no look-up, and sends
 * that never wait. What the system cannot take is thrown away, as any router on the way may do.
 */
import { createSocket } from 'node:dgram'
import type { Socket, SocketType } from 'node:dgram'
import { isIP } from 'node:net'
import { lookup } from 'node:dns/promises'
import { limits } from '../../protocol/limits.ts'

export type Family = 4 | 6

export interface Place {
  readonly address: string
  readonly family: Family
}

/** Of each family, the first address that a name has. */
export async function addressesOf(host: string): Promise<Place[]> {
  const family = isIP(host)
  if (family !== 0) return [{ address: host, family: family as Family }]
  const all = await lookup(host, { all: true })
  const firsts = ([4, 6] as const).map((wanted) => all.find((one) => one.family === wanted))
  return firsts.flatMap((one) => (one === undefined ? [] : [one as Place]))
}

export function udpSocket(family: Family): Socket {
  return createSocket({
    type: `udp${family}` as SocketType,
    // Each family has its own socket: addresses look the same whatever the system's default is.
    ipv6Only: family === 6,
    recvBufferSize: limits.udpSocketBytes,
    sendBufferSize: limits.udpSocketBytes,
    // Peers are numbers; the default would make a turn of the event loop out of each send.
    lookup: (address, _options, done) => done(null, address, family),
  })
}

/** Whether the system still takes what is sent. */
export function hasRoom(socket: Socket): boolean {
  return socket.getSendQueueSize() < limits.udpSocketBytes
}

/** A datagram without the behaviour of `Buffer`, whose `slice` copies nothing. */
export function plainBytes(message: Buffer): Uint8Array {
  return new Uint8Array(message.buffer, message.byteOffset, message.length)
}

export function closeSocket(socket: Socket): Promise<void> {
  return new Promise((resolve) => { socket.close(() => resolve()) })
}
