/** `openim xmpp doctor`: what is wrong with our domain, or on the way to another. Loaded when asked for. */
import type { SecureContext } from 'node:tls'
import { domainToASCII } from 'node:url'
import { OpenIMError } from '../../../crypto/errors.ts'
import type { BridgeHost } from '../../../node/bridge-host.ts'
import type { DoctorCheck } from '../../../node/status.ts'
import { TrustedRoots } from '../s2s/certificate-path.ts'
import { S2sPolicy } from '../s2s/policy.ts'
import type { S2sPolicyOptions } from '../s2s/policy.ts'
import { S2sResolver } from '../s2s/resolver.ts'
import type { ResolverOptions } from '../s2s/resolver.ts'
import { examineOther } from './other-domain.ts'
import { examineOwn } from './own-domain.ts'

export interface ExamineParts {
  readonly node: Pick<BridgeHost, 'clock' | 'random'>
  readonly s2s: {
    readonly policy: S2sPolicyOptions
    readonly resolver: ResolverOptions
    readonly roots: readonly string[]
  }
  readonly secureContext: SecureContext
}

export interface ExamineQuestion {
  readonly domain: string
  readonly other: string | undefined
  /** `host:port` of our open doors, by name. */
  readonly doors: Readonly<Record<string, string>>
  readonly isHome: boolean
}

/** With a resolver of its own, which remembers nothing. @throws USAGE_ARGUMENT for what is no domain */
export async function examineDomain(
  { node: { clock, random }, s2s, secureContext }: ExamineParts,
  { domain, other, doors, isHome }: ExamineQuestion,
): Promise<readonly DoctorCheck[]> {
  const roots = new TrustedRoots(s2s.roots)
  if (other === undefined) {
    const dnsServers = s2s.resolver.dnsServers ?? []
    return await examineOwn({ clock, domain, doors, dnsServers, roots, isHome })
  }
  const theirs = domainToASCII(other)
  if (theirs === '') throw new OpenIMError('USAGE_ARGUMENT', `'${other}' is no domain`)
  const resolver = new S2sResolver({ clock, random }, s2s.resolver)
  const policy = new S2sPolicy({ clock, roots }, s2s.policy)
  return await examineOther({ clock, resolver, policy, secureContext }, { ours: domain, theirs })
}
