/** The way to another domain, step by step as a stanza goes it: what DNS says, TLS, certificate, features. */
import type { SecureContext } from 'node:tls'
import type { DoctorCheck } from '../../../node/status.ts'
import type { Clock } from '../../../protocol/ports.ts'
import { dialbackFeatureNs } from '../s2s/dialback.ts'
import { S2sDialer } from '../s2s/dialer.ts'
import type { S2sPolicy } from '../s2s/policy.ts'
import type { S2sResolver, S2sTarget } from '../s2s/resolver.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import { probeStream } from './probe.ts'
import type { Probed } from './probe.ts'

export interface OtherDomainParts {
  readonly clock: Clock
  readonly resolver: S2sResolver
  readonly policy: S2sPolicy
  readonly secureContext: SecureContext
}

/** Up to the first step that fails. */
export async function examineOther(
  { clock, resolver, policy, secureContext }: OtherDomainParts,
  { ours, theirs }: { readonly ours: string, readonly theirs: string },
): Promise<DoctorCheck[]> {
  if (policy.isBlocked(theirs)) {
    const cure = 'take it out of xmpp.s2s.blocked'
    return [{ name: 'policy', ok: false, detail: `${theirs} is blocked here`, cure }]
  }
  const found = await resolver.resolve(theirs)
  if (!found.ok) return [{ name: 'address', ok: false, detail: found.text, cure: cureOf(theirs) }]
  const addresses = found.targets.map(shownTarget).join(', ')
  const checks: DoctorCheck[] = [{ name: 'address', ok: true, detail: addresses }]
  const dialer = new S2sDialer(clock, found.targets, {
    domain: theirs, secureContext, signal: new AbortController().signal,
  })
  const dialled = await dialer.next()
  if (dialled === undefined) {
    return [...checks, { name: 'connection', ok: false, detail: dialer.problem, cure: cureOf(theirs) }]
  }
  const probed = await probeStream(
    clock, dialled,
    { to: theirs, from: ours, contentNs: ns.server, until: 'features', secureContext },
  )
  const { protocol, problem } = probed
  const detail = [shownTarget(dialled.target), protocol, problem]
    .filter((part) => part !== undefined).join(', ')
  checks.push({
    name: 'connection', ok: problem === undefined, detail,
    ...problem === undefined ? {} : { cure: cureOf(theirs) },
  })
  return [...checks, ...judged(probed, { policy, theirs })]
}

function judged(
  { presented, features }: Probed,
  { policy, theirs }: { readonly policy: S2sPolicy, readonly theirs: string },
): DoctorCheck[] {
  if (presented === undefined) return []
  const verdict = policy.judge(presented, theirs)
  const mayDialback = policy.allowsDialback(theirs)
  const certificate: DoctorCheck = verdict.ok
    ? { name: 'certificate', ok: true, detail: `proves that it speaks for ${theirs}` }
    : mayDialback
      ? { name: 'certificate', ok: true, detail: `${verdict.text}; dialback is allowed in its place` }
      : {
        name: 'certificate', ok: false, detail: `the certificate of ${theirs} ${verdict.text}`,
        cure: `tell its operator, or allow dialback: xmpp.s2s.dialback = ["${theirs}"]`,
      }
  return features === undefined ? [certificate] : [certificate, featuresCheck(features)]
}

function featuresCheck(features: XmlElement): DoctorCheck {
  const mechanisms = features.child('mechanisms', ns.sasl)?.elements().map((one) => one.text) ?? []
  const offered = [
    ...mechanisms,
    ...features.child('dialback', dialbackFeatureNs) === undefined ? [] : ['dialback'],
    ...features.child('sm', ns.sm) === undefined ? [] : ['stream management'],
  ]
  return { name: 'offers', ok: true, detail: offered.join(', ') || 'nothing to prove ourselves by' }
}

function shownTarget({ address, port, transport }: S2sTarget): string {
  const host = address.includes(':') ? `[${address}]` : address
  return `${host}:${port} (${transport === 'direct' ? 'TLS from the first byte' : 'STARTTLS'})`
}

function cureOf(domain: string): string {
  return `if others reach ${domain}, look at the network and the name servers here; else tell its operator`
}
