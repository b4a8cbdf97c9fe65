/** A libp2p stream that is pushed onto after it closed: what throws where nobody can catch it. */
import { streamPair } from '@libp2p/utils'

export async function pushOntoClosedStream(): Promise<void> {
  const [local] = await streamPair()
  local.abort(new Error('the peer is gone'))
  local.send(new Uint8Array(1))
}
