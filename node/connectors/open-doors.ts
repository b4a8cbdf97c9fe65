/** The doors that the settings ask for; heavy ones are loaded only when they are wanted. */
import { networkInterfaces } from 'node:os'
import type { Connector } from '../ports.ts'
import type { DoorComponents } from './door-guard.ts'
import { TCPConnector } from './tcp-connector.ts'
import { TlsFiles } from './tls-files.ts'
import type { TlsPaths } from './tls-files.ts'
import { UDPConnector } from './udp-connector.ts'

/** `host:port` each; what is absent stays shut. */
export interface DoorSettings {
  readonly listen: {
    readonly tcp: string
    readonly udp: string
    readonly ws: string | undefined
    readonly http2: string | undefined
    readonly trustedProxies: readonly string[]
  }
  readonly tls: TlsPaths | undefined
}

export interface Doors {
  readonly connectors: readonly Connector[]
  /** Looks after the certificate while doors are open. */
  readonly tls: TlsFiles | undefined
}

/** @throws CONFIG_TLS */
export async function openDoors(
  components: DoorComponents,
  config: DoorSettings,
): Promise<Doors> {
  const { listen } = config
  const tls = config.tls === undefined ? undefined : await TlsFiles.open(components, config.tls)
  const shared = {
    trustedProxies: listen.trustedProxies,
    ...tls === undefined ? {} : { tls: () => tls.context },
  }
  const connectors: Connector[] = [
    new TCPConnector(components, { ...hostPort(listen.tcp), ...shared }),
    // Whose sender anybody can make up: no address is trusted there.
    new UDPConnector(components, hostPort(listen.udp)),
  ]
  if (listen.ws !== undefined) {
    const { WSConnector } = await import('./ws-connector.ts')
    connectors.push(new WSConnector(components, { ...hostPort(listen.ws), ...shared }))
  }
  if (listen.http2 !== undefined) {
    const { HTTP2Connector } = await import('./http2-connector.ts')
    connectors.push(new HTTP2Connector(components, { ...hostPort(listen.http2), ...shared }))
  }
  return { connectors, tls }
}

/** Addresses as `door-address.ts` reads them, for devices elsewhere; the ones to prefer first. */
export function doorAddresses(doors: Doors): string[] {
  const { connectors, tls } = doors
  return connectors.flatMap((connector) => {
    const place = connector.address()
    const scheme = schemes[connector.name]
    if (place === undefined || scheme === undefined) return []
    const { host, port } = hostPort(place)
    const [plain, secure] = scheme
    const names = secure !== undefined && tls !== undefined ? [plain, secure] : [plain]
    return names.flatMap((name) => reachableHosts(host).map((reachable) => `${name}://${reachable}:${port}`))
  })
}

/** Plain, and over TLS. */
const schemes: Readonly<Record<string, readonly [string, string?]>> = {
  tcp: ['tcp', 'tls'], udp: ['udp'], ws: ['ws', 'wss'], http2: ['http', 'https'],
}

/** Listening everywhere means every address of this machine, IPv4 first; else the one it is. */
function reachableHosts(host: string): string[] {
  if (host !== '0.0.0.0' && host !== '::') return [host.includes(':') ? `[${host}]` : host]
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
  // Link-local addresses need a scope that another machine does not share.
  const outside = all.filter(({ internal, address }) => !internal && !address.startsWith('fe80:'))
  const found = (outside.length > 0 ? outside : all)
    .filter(({ family }) => host === '::' || family === 'IPv4')
    .sort((a, b) => a.family.localeCompare(b.family))
  return found.map(({ family, address }) => (family === 'IPv6' ? `[${address}]` : address))
}

function hostPort(text: string): { host: string, port: number } {
  const at = text.lastIndexOf(':')
  return { host: text.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(text.slice(at + 1)) }
}
