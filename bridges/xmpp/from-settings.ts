/**
 * The bridge from the settings of `config.toml`: reads files, trusts what Node trusts, and says what
 * its operator may do with it over the control socket.
 */
import { readFile } from 'node:fs/promises'
import { getCACertificates } from 'node:tls'
import type { SecureContext } from 'node:tls'
import { errorCode, OpenIMError } from '../../crypto/errors.ts'
import type { BridgeHost } from '../../node/bridge-host.ts'
import type { XmppSettings } from '../../node/config-xmpp.ts'
import { TlsFiles } from '../../node/connectors/tls-files.ts'
import type { DoctorCheck } from '../../node/status.ts'
import type { BridgeControl } from '../../node/control/control-protocol.ts'
import { checkOwnCertificate } from './certificates/own-certificate.ts'
import type { HomeCa } from './certificates/home-ca.ts'
import { controlOf } from './control.ts'
import type { StaticTarget } from './s2s/resolver.ts'
import { defaultUploads } from './upload/upload-store.ts'
import type { UploadLimits } from './upload/upload-store.ts'
import { XmppBridge } from './xmpp-bridge.ts'
import type { HostPort, XmppBridgeOptions } from './xmpp-bridge.ts'

export interface RunningXmpp {
  readonly control: BridgeControl
  /** `host:port` by the name of the door. */
  addresses(): Readonly<Record<string, string>>
  start(): Promise<void>
  stop(): Promise<void>
}

/** Nothing is listened on yet. @throws CONFIG_TLS, XMPP_CA, STORE_* */
export async function openXmpp(
  node: BridgeHost,
  settings: XmppSettings,
  { version }: { readonly version: string },
): Promise<RunningXmpp> {
  const { domain, listen, s2s, abuse, upload, archiveDays } = settings
  const { home, certificates } = await openCertificates(node, settings)
  const outward = await s2sOptions(s2s)
  const bridge = await XmppBridge.open(node, {
    domain, version,
    secureContext: () => certificates.context,
    abuseAddresses: abuse,
    uploads: uploadLimits(upload),
    ...archiveDays === undefined ? {} : { archiveDays },
    listen: Object.fromEntries(Object.entries(listen).map(([door, place]) => [door, hostPort(place)])),
    s2s: outward,
    ...settings.shield === 'off' ? {} : {
      shield: {
        mode: settings.shield,
        required: s2s.sealed,
        account: () => node.hosted.open('xmpp-shield', { kind: 'service', shownAs: domain }),
      },
    },
  })
  const examine = async (other: string | undefined): Promise<readonly DoctorCheck[]> => {
    const { examineDomain } = await import('./doctor/examine-domain.ts')
    return await examineDomain(
      { node, s2s: outward, secureContext: certificates.context },
      { domain, other, doors: bridge.addresses(), isHome: home !== undefined },
    )
  }
  return {
    control: controlOf(bridge, { home, examine }),
    addresses: () => bridge.addresses(),
    async start() {
      certificates.start()
      await bridge.start()
    },
    async stop() {
      await bridge.stop()
      await certificates.stop()
    },
  }
}

function uploadLimits({ enabled, ...given }: XmppSettings['upload']): UploadLimits | 'off' {
  if (!enabled) return 'off'
  const set = Object.entries(given).filter(([, value]) => value !== undefined)
  return { ...defaultUploads, ...Object.fromEntries(set) }
}

async function s2sOptions(s2s: XmppSettings['s2s']): Promise<NonNullable<XmppBridgeOptions['s2s']>> {
  return {
    policy: {
      defaultProof: s2s.proof,
      blocked: s2s.blocked,
      proofs: Object.fromEntries(s2s.dialback.map((one) => [one, { by: 'dialback' } as const])),
    },
    resolver: {
      ...s2s.dns.length === 0 ? {} : { dnsServers: s2s.dns },
      overrides: Object.fromEntries(
        Object.entries(s2s.routes).map(([to, place]) => [to, staticTarget(place)]),
      ),
    },
    roots: [...getCACertificates('default'), ...await extraRoots(s2s.ca)],
  }
}

interface Certificates {
  readonly context: SecureContext
  start(): void
  stop(): Promise<void>
}

/** From the files that the settings name, else from the authority of the house. @throws CONFIG_TLS */
async function openCertificates(
  node: BridgeHost, { domain, files }: XmppSettings,
): Promise<{ readonly home: HomeCa | undefined, readonly certificates: Certificates }> {
  if (files === undefined) {
    const { HomeCa } = await import('./certificates/home-ca.ts')
    const home = await HomeCa.open(node, domain)
    return { home, certificates: home }
  }
  const check = (pem: string): void =>
    checkOwnCertificate(pem, { domain, path: files.cert, nowMs: node.clock.now() })
  return { home: undefined, certificates: await TlsFiles.open(node, { ...files, table: 'xmpp', check }) }
}

async function extraRoots(path: string | undefined): Promise<string[]> {
  if (path === undefined) return []
  try {
    return [await readFile(path, 'utf8')]
  } catch (cause) {
    throw new OpenIMError(
      'XMPP_CA', `cannot read ${path} (${errorCode(cause) ?? 'unknown reason'})`, { cause },
    )
  }
}

function hostPort(place: string): HostPort {
  const colon = place.lastIndexOf(':')
  return { host: place.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(place.slice(colon + 1)) }
}

function staticTarget(place: string): StaticTarget {
  const isDirect = place.startsWith('tls://')
  const { host, port } = hostPort(isDirect ? place.slice('tls://'.length) : place)
  return { host, port, transport: isDirect ? 'direct' : 'starttls' }
}
