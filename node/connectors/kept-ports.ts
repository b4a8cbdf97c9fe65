/**
 * Ports of the doors that nobody set: picked once, by chance, and kept in the node's store, so that
 * linked devices find the node where it was. They are below the ports that systems give to outgoing
 * connections (Linux from 32,768, IANA from 49,152), where a kept one would now and then be taken.
 *
 * ```text
 *   record `door/NODE/NAME`:  the port, decimal
 * ```
 *
 * By node, because several may keep their records in one database.
 */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { utf8, utf8Decode } from '../../crypto/bytes.ts'
import type { Random } from '../../crypto/random.ts'
import type { NodeId } from '../../protocol/ids.ts'
import type { KvStore } from '../../protocol/ports.ts'

const host = '127.0.0.1'
const portMin = 20_000
const portCount = 12_768
/** Then the door tries the last one and says what is wrong. */
const triesMax = 16

/** `127.0.0.1:PORT` of this door, the same at every start. @throws STORE_* */
export async function keptPlace(
  { kv, random }: { kv: KvStore, random: Random },
  { node, door }: { node: NodeId, door: 'tcp' | 'udp' },
): Promise<string> {
  const key = `door/${node}/${door}`
  const known = await kv.get(key)
  if (known !== undefined) return `${host}:${utf8Decode(known.value)}`
  let port = pick(random)
  for (let tries = 1; tries < triesMax && !await isFree[door](port); tries++) port = pick(random)
  await kv.write([{ type: 'put', key, value: utf8(String(port)) }])
  return `${host}:${port}`
}

function pick(random: Random): number {
  const [high = 0, low = 0] = random.bytes(2)
  return portMin + Math.floor((high * 256 + low) / 65_536 * portCount)
}

const isFree = {
  async tcp(port: number): Promise<boolean> {
    const server = createServer().listen(port, host)
    const isListening = await once(server, 'listening').then(() => true, () => false)
    if (isListening) await new Promise((resolve) => { server.close(resolve) })
    return isListening
  },
  async udp(port: number): Promise<boolean> {
    const socket = createSocket('udp4')
    socket.bind(port, host)
    const isBound = await once(socket, 'listening').then(() => true, () => false)
    socket.close()
    return isBound
  },
}
