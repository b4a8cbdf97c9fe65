/**
 * Addresses of a node's doors as people and programs write them, and a dialer for each:
 * `tcp://HOST:PORT`, `tls://`, `udp://`, `ws://`, `wss://`, `http://` and `https://` (HTTP/2).
 * Transports load when they are first dialled.
 */
import { OpenIMError } from '../../crypto/errors.ts'
import type { MessageLink } from '../../protocol/ports.ts'
import type { Way } from '../../protocol/session/racing-dialer.ts'
import type { Dialer } from '../../protocol/session/types.ts'
import type { DialerComponents, DialerOptions } from './dial-link.ts'

type DialerClass = new (components: DialerComponents, options: DialerOptions) => Dialer

const schemes: Readonly<Record<string, { readonly tls: boolean, load(): Promise<DialerClass> }>> = {
  tcp: { tls: false, load: async () => (await import('./tcp-dialer.ts')).TCPDialer },
  tls: { tls: true, load: async () => (await import('./tcp-dialer.ts')).TCPDialer },
  udp: { tls: false, load: async () => (await import('./udp-dialer.ts')).UDPDialer },
  ws: { tls: false, load: async () => (await import('./ws-dialer.ts')).WSDialer },
  wss: { tls: true, load: async () => (await import('./ws-dialer.ts')).WSDialer },
  http: { tls: false, load: async () => (await import('./http2-dialer.ts')).HTTP2Dialer },
  https: { tls: true, load: async () => (await import('./http2-dialer.ts')).HTTP2Dialer },
}

export interface DoorAddress {
  readonly scheme: string
  readonly host: string
  readonly port: number
}

const addressForm = /^([a-z0-9]{1,8}):\/\/(?:\[([0-9a-fA-F:.]{2,45})\]|([A-Za-z0-9.-]{1,253})):(\d{1,5})$/

/** @throws DOOR_ADDRESS for anything but `SCHEME://HOST:PORT` with a scheme from above */
export function parseDoorAddress(text: string): DoorAddress {
  const match = addressForm.exec(text)
  const [, scheme = '', ipv6, name, port] = match ?? []
  const isKnown = Object.hasOwn(schemes, scheme)
  if (match === null || !isKnown || Number(port) < 1 || Number(port) > 65_535) {
    throw new OpenIMError('DOOR_ADDRESS',
      `"${text.slice(0, 80)}" is no address of a door: write tcp://HOST:PORT, `
        + 'or udp, ws, http, tls, wss, https')
  }
  return { scheme, host: ipv6 ?? name!, port: Number(port) }
}

/** A way to the node for each address. @throws DOOR_ADDRESS */
export function waysTo(
  addresses: readonly string[],
  components: DialerComponents,
  keys: Pick<DialerOptions, 'doorKey' | 'own'>,
): Way[] {
  return addresses.map((name) => {
    const { scheme, host, port } = parseDoorAddress(name)
    const { tls, load } = schemes[scheme]!
    const dial = async (signal: AbortSignal): Promise<MessageLink> => {
      const Dialer = await load()
      return new Dialer(components, { host, port, tls, ...keys }).dial(signal)
    }
    return { name, dialer: { dial } }
  })
}
