/** What a stream's TLS gives to bind a login to (RFC 9266, RFC 5929), and whether anybody can read along. */
import { isIPv4 } from 'node:net'
import { noChannelBindings } from '../auth/sasl.ts'
import type { ChannelBindings } from '../auth/sasl.ts'
import type { TlsFacts, XmlStream } from '../stream/xml-stream.ts'

/**
 * `tls-unique` (RFC 5929 §3) is taken and not announced: RFC 9266 replaced it, and there are clients that
 * know no other and, where -PLUS is offered, use no SCRAM without (slixmpp 1.8). Between TLS 1.3 and
 * OpenSSL at both ends it is the client's Finished message, which somebody between cannot make equal on
 * two connections: it authenticates the transcript of its own with a key of its own.
 */
export function bindingsOf(tls: TlsFacts | undefined): ChannelBindings {
  if (tls === undefined) return noChannelBindings
  const found = new Map<string, Uint8Array>()
  if (tls.exporter !== undefined) found.set('tls-exporter', tls.exporter)
  if (tls.endPoint !== undefined) found.set('tls-server-end-point', tls.endPoint)
  const types = [...found.keys()]
  if (tls.peerFinished !== undefined) found.set('tls-unique', tls.peerFinished)
  return { types, data: (type) => found.get(type) }
}

/** TLS, or a WebSocket from this very machine: a reverse proxy ended the TLS of the client. */
export function isPrivate(stream: Pick<XmlStream, 'tls' | 'transport' | 'remoteAddress'>): boolean {
  const { tls, transport, remoteAddress } = stream
  if (tls !== undefined) return true
  if (transport !== 'websocket') return false
  const address = remoteAddress.replace(/^::ffff:/, '')
  return address === '::1' || isIPv4(address) && address.startsWith('127.')
}
