/**
 * Which proof we ask of which domain, and whom we talk to at all. By default a valid certificate for
 * the domain; an operator may allow dialback, or pin a certificate, for single domains.
 */
import { verifyCertificate, verifyPinned } from './certificate-path.ts'
import type { CertificateVerdict, Presented, TrustedRoots } from './certificate-path.ts'
import type { Clock } from '../../../protocol/ports.ts'

export type DomainProof =
  | { readonly by: 'certificate' }
  /** A certificate where it is valid, else dialback over TLS. Whoever controls the path can be anybody. */
  | { readonly by: 'dialback' }
  /** SHA-256 of the certificate or of its key (SubjectPublicKeyInfo), hexadecimal. */
  | { readonly by: 'pin', readonly sha256: readonly string[] }

export interface S2sPolicyOptions {
  /** Of domains that `proofs` does not name. */
  readonly defaultProof?: 'certificate' | 'dialback'
  readonly proofs?: Readonly<Record<string, DomainProof>>
  /** Domains, with everything below them, that nothing is taken from and nothing is sent to. */
  readonly blocked?: readonly string[]
}

export class S2sPolicy {
  readonly #clock: Clock
  readonly #roots: TrustedRoots
  readonly #default: DomainProof
  readonly #proofs: ReadonlyMap<string, DomainProof>
  #blocked: ReadonlySet<string>

  constructor(
    components: { readonly clock: Clock, readonly roots: TrustedRoots },
    { defaultProof = 'certificate', proofs = {}, blocked = [] }: S2sPolicyOptions = {},
  ) {
    this.#clock = components.clock
    this.#roots = components.roots
    this.#default = { by: defaultProof }
    this.#proofs = new Map(Object.entries(proofs).map(([domain, proof]) => [domain, prepared(proof)]))
    this.#blocked = new Set(blocked)
  }

  proofOf(domain: string): DomainProof {
    return this.#proofs.get(domain) ?? this.#default
  }

  allowsDialback(domain: string): boolean {
    return this.proofOf(domain).by === 'dialback'
  }

  /** Lists change while we run. */
  block(domains: readonly string[]): void {
    this.#blocked = new Set(domains)
  }

  isBlocked(domain: string): boolean {
    if (this.#blocked.size === 0) return false
    const labels = domain.split('.')
    return labels.some((_, i) => this.#blocked.has(labels.slice(i).join('.')))
  }

  /** Whether what was presented proves the domain by itself, without dialback. */
  judge(presented: Presented, domain: string): CertificateVerdict {
    const proof = this.proofOf(domain)
    if (proof.by === 'pin') return verifyPinned(presented, proof.sha256)
    return verifyCertificate(presented, domain, { roots: this.#roots, nowMs: this.#clock.now() })
  }
}

/** People copy fingerprints with colons and in capitals. */
function prepared(proof: DomainProof): DomainProof {
  if (proof.by !== 'pin') return proof
  return { by: 'pin', sha256: proof.sha256.map((hash) => hash.replaceAll(':', '').toLowerCase()) }
}
