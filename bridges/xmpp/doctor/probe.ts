/**
 * Goes through the beginning of a stream as a stranger does, and says what it saw:
 *
 * ```text
 *   header ─▶ features ─▶ <starttls/> ─▶ <proceed/> ─▶ TLS ─▶ header ─▶ features ─▶ end
 *                                       direct TLS: from here
 * ```
 *
 * Nobody logs in, and nothing is decided: whoever asks judges the certificate.
 */
import type { SecureContext, TLSSocket } from 'node:tls'
import type { Clock } from '../../../protocol/ports.ts'
import { xmppLimits } from '../limits.ts'
import { presentedBy } from '../s2s/certificate-path.ts'
import type { Presented } from '../s2s/certificate-path.ts'
import { serverNameOf } from '../s2s/dialer.ts'
import type { Dialled } from '../s2s/dialer.ts'
import { SocketStream } from '../stream/socket-stream.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'

export interface ProbeOptions {
  /** Whom the header is for. */
  readonly to: string
  /** Who asks; absent: a client. */
  readonly from?: string
  readonly contentNs: string
  /** `tls`: the certificate is enough. */
  readonly until: 'tls' | 'features'
  /** With a certificate of ours: a server offers EXTERNAL to whom showed one. */
  readonly secureContext?: SecureContext
}

export interface Probed {
  /** `TLSv1.3`; absent: it did not come so far. */
  readonly protocol?: string
  readonly presented?: Presented
  /** After TLS. */
  readonly features?: XmlElement
  /** Why it ended before what was asked for, in words. */
  readonly problem?: string
}

/** Never throws; the socket is closed when it settles. */
export async function probeStream(
  clock: Clock, { socket, target }: Dialled, options: ProbeOptions,
): Promise<Probed> {
  const { to, from, contentNs, until, secureContext } = options
  const stream = new SocketStream({ socket, clock }, { side: 'client' })
  const { promise, resolve } = Promise.withResolvers<Probed>()
  let seen: Probed = {}
  const open = (): void => stream.open({ to, ...from === undefined ? {} : { from }, contentNs })
  const secured = (): void => {
    const { tls } = stream
    seen = { protocol: tls?.protocol ?? '', presented: presentedBy(tls?.peerCertificate) }
    if (until === 'tls') resolve(seen)
    else open()
  }
  const element = (found: XmlElement): void => {
    if (found.is('features', ns.stream)) {
      if (seen.protocol !== undefined) resolve({ ...seen, features: found })
      else if (found.child('starttls', ns.tls) === undefined) resolve({ problem: 'it offers no TLS' })
      else stream.send(el(ns.tls, 'starttls', {}))
    } else if (found.is('proceed', ns.tls)) {
      stream.startTls({
        side: 'client', serverName: serverNameOf(to), ...secureContext === undefined ? {} : { secureContext },
      })
    } else {
      resolve({ ...seen, problem: `it answered with <${found.name}/>` })
    }
  }
  const timer = clock.after(xmppLimits.s2sConnectMs, () => resolve({ ...seen, problem: 'it took too long' }))
  stream.listen({
    opened: () => {},
    element,
    secured,
    closed: ({ error }) => resolve({ ...seen, problem: error?.text ?? error?.condition ?? 'it hung up' }),
  })
  if (target.transport === 'direct') secured()
  else open()
  const probed = await promise
  timer.cancel()
  stream.destroy()
  return probed
}

/** Of a door that speaks something else inside of TLS (HTTPS). */
export function presentedOn({ socket }: Dialled): Presented {
  const presented = presentedBy((socket as TLSSocket).getPeerX509Certificate())
  socket.destroy()
  return presented
}
