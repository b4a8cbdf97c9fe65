/** Writes to a libp2p stream that is closed, where nobody can catch what it throws. */
import { rawNode } from './raw-node.ts'

const protocol = '/openim/test/1'

/** Settles once it is about to happen; the function given ends the nodes' sockets. */
export async function pushOntoClosedStream(): Promise<() => void> {
  const [near, far] = [await rawNode(), await rawNode()]
  await far.node.handle(protocol, () => {})
  await Promise.all([near.node.start(), far.node.start()])
  const connection = await near.node.dial(far.node.getMultiaddrs()[0]!)
  const stream = await connection.newStream(protocol)
  stream.abort(new Error('the peer is gone'))
  setTimeout(() => stream.send(new Uint8Array(1)))
  return () => void Promise.all([near.node.stop(), far.node.stop()])
}
