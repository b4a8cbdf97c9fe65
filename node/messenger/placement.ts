/**
 * Which nodes hold an inbox: weighted rendezvous hashing over the storage nodes of the directory
 * (Thaler and Ravishankar 1998; weights as in Schindelhauer and Schomaker 2005).
 *
 * Everyone who knows the same nodes picks the same few, and when one comes or goes only its own
 * share moves. Weight grows with tenure, because under churn a node that stayed a week is worth
 * more than several new ones. At most one node per public subnet (/24, /48) is taken, so that one
 * operator's rack does not hold all copies; private and loopback addresses are exempt: a living
 * room is one subnet.
 */
import { concat } from '../../crypto/bytes.ts'
import { crypto } from '../../crypto/index.ts'
import { nodeKey } from '../../protocol/ids.ts'
import type { NodeDescriptor } from '../../protocol/node-descriptor.ts'

const hoursPerDay = 24

/** First match wins: at least so many hours known, this weight. */
const tenureWeights: readonly { readonly hours: number, readonly weight: number }[] = [
  { hours: 7 * hoursPerDay, weight: 8 },
  { hours: hoursPerDay, weight: 3 },
  { hours: 0, weight: 1 },
]

/** All candidates in order of preference for `key`; the caller asks down the list. */
export function rankHolders(input: {
  key: Uint8Array
  candidates: readonly NodeDescriptor[]
  nowHour: number
}): NodeDescriptor[] {
  return input.candidates
    .map((descriptor) => ({ descriptor, score: rendezvousScore(input.key, descriptor, input.nowHour) }))
    .sort((a, b) => b.score - a.score || (a.descriptor.nodeId < b.descriptor.nodeId ? -1 : 1))
    .map(({ descriptor }) => descriptor)
}

function rendezvousScore(key: Uint8Array, descriptor: NodeDescriptor, nowHour: number): number {
  const hash = crypto.sha256(concat(key, nodeKey(descriptor.nodeId)))
  // 48 bits in (0, 1): never 0, whose logarithm has no value.
  const high = new DataView(hash.buffer, hash.byteOffset).getUint32(0)
  const uniform = (high * 65_536 + hash[4]! * 256 + hash[5]! + 0.5) / 2 ** 48
  const tenureHours = Math.max(0, nowHour - descriptor.sinceHour)
  const weight = tenureWeights.find((step) => tenureHours >= step.hours)!.weight
  return -weight / Math.log(uniform)
}

/** Remembers the public subnets already used by one set of holders. */
export class SubnetSpread {
  readonly #used = new Set<string>()

  /** False when a node of the same public subnet is in the set already. */
  admits(descriptor: NodeDescriptor): boolean {
    return !publicSubnets(descriptor.addresses).some((subnet) => this.#used.has(subnet))
  }

  add(descriptor: NodeDescriptor): void {
    for (const subnet of publicSubnets(descriptor.addresses)) this.#used.add(subnet)
  }
}

/** `/24` of IPv4 and `/48` of IPv6 addresses that are reachable from anywhere. */
export function publicSubnets(addresses: readonly string[]): string[] {
  const subnets = new Set<string>()
  for (const address of addresses) {
    const [, family, host] = address.split('/')
    if (family === 'ip4' && host !== undefined && !isPrivateIPv4(host)) {
      subnets.add(host.split('.').slice(0, 3).join('.'))
    } else if (family === 'ip6' && host !== undefined && /^[23]/.test(host)) {
      subnets.add(host.split(':').slice(0, 3).join(':'))
    }
  }
  return [...subnets]
}

/** RFC 1918, loopback, link-local and carrier-grade NAT (RFC 6598). */
function isPrivateIPv4(host: string): boolean {
  const [a = 0, b = 0] = host.split('.').map(Number)
  return a === 10 || a === 127 || (a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168) ||
    (a === 169 && b === 254) || (a === 100 && b >= 64 && b < 128)
}

