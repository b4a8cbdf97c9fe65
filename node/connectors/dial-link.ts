/**
 * What every dialer does once it has a transport under way: shakes hands as the device, gives up
 * when asked to, and says clearly what went wrong.
 */
import { OpenIMError } from '../../crypto/errors.ts'
import type { DhKeyPair } from '../../crypto/provider.ts'
import type { Random } from '../../crypto/random.ts'
import type { Clock, MessageLink } from '../../protocol/ports.ts'
import type { ByteTransport } from '../../protocol/session/byte-transport.ts'
import type { NoiseChannelOptions } from '../../protocol/session/noise-channel.ts'
import { openStreamLink } from '../../protocol/session/stream-link.ts'

export interface DialerComponents {
  readonly clock: Clock
  readonly random: Random
}

export interface DialerOptions {
  readonly host: string
  readonly port: number
  /** The node's X25519 door key, 32 bytes, known beforehand. */
  readonly doorKey: Uint8Array
  /** The device's X25519 key. */
  readonly own: DhKeyPair
  /**
   * TLS around it, for networks that let nothing else through. Any certificate will do: the Noise
   * channel inside proves the node.
   */
  readonly tls?: boolean
}

export interface Dialling {
  readonly bytes: ByteTransport
  readonly transport: string
  readonly framing: NoiseChannelOptions['framing']
  /** Ends the transport at once. */
  destroy(): void
  /** Why there is no connection; undefined once there is one. */
  unreachable(): { readonly cause: unknown } | undefined
}

export function placeOf({ host, port }: Pick<DialerOptions, 'host' | 'port'>): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** @throws LINK_UNREACHABLE when the signal has aborted */
export function checkSignal(signal: AbortSignal, place: string): void {
  if (signal.aborted) throw new OpenIMError('LINK_UNREACHABLE', `dialling ${place} was given up`)
}

/** @throws LINK_UNREACHABLE, CHANNEL_REFUSED, CHANNEL_TIMEOUT, CHANNEL_HANDSHAKE, CHANNEL_LENGTH */
export async function dialLink(
  components: DialerComponents,
  options: DialerOptions & { signal: AbortSignal },
  dialling: Dialling,
): Promise<MessageLink> {
  const { signal, own, doorKey } = options
  const place = placeOf(options)
  const abort = (): void => dialling.destroy()
  signal.addEventListener('abort', abort, { once: true })
  const { bytes, transport, framing } = dialling
  try {
    // Handshake bytes wait in the transport until it is connected; the deadline covers both.
    const opened = await openStreamLink(
      { clock: components.clock, bytes },
      { transport, framing, own, random: components.random, nodeKey: doorKey },
    )
    if (opened.ok) return opened.value.link
    const unreachable = dialling.unreachable()
    if (unreachable !== undefined) {
      throw new OpenIMError('LINK_UNREACHABLE', `no connection to ${place}`, { cause: unreachable.cause })
    }
    throw new OpenIMError(opened.code, `${place}: ${opened.detail ?? opened.code}`)
  } catch (error) {
    dialling.destroy()
    throw error
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
