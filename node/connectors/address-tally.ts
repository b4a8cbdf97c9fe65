/**
 * Counts what is open, in all and per remote address, and refuses above two bounds, so that one
 * address cannot use up the room of all. IPv6 counts by /64: that is what one household gets.
 */
import { isIPv6 } from 'node:net'

export class AddressTally {
  readonly #totalMax: number
  readonly #perAddressMax: number
  readonly #counts = new Map<string, number>()
  #total = 0

  constructor(totalMax: number, perAddressMax: number) {
    this.#totalMax = totalMax
    this.#perAddressMax = perAddressMax
  }

  /**
   * False, and nothing counted, when a bound is reached; each true needs one `leave`. A trusted
   * address is bound by the total alone.
   */
  enter(group: string, isTrusted = false): boolean {
    const count = this.#counts.get(group) ?? 0
    if (this.#total >= this.#totalMax || (!isTrusted && count >= this.#perAddressMax)) return false
    this.#counts.set(group, count + 1)
    this.#total++
    return true
  }

  leave(group: string): void {
    const count = this.#counts.get(group) ?? 0
    if (count > 1) this.#counts.set(group, count - 1)
    else this.#counts.delete(group)
    this.#total--
  }
}

/** The household of an IP address as `net` prints it. */
export function addressGroup(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)
  if (mapped !== null) return mapped[1]!
  if (!isIPv6(address)) return address
  const [left = '', right] = address.replace(/%.*$/, '').split('::')
  const head = left === '' ? [] : left.split(':')
  const tail = right === undefined || right === '' ? [] : right.split(':')
  const zeros = right === undefined ? 0 : 8 - head.length - tail.length
  const groups = [...head, ...Array.from({ length: zeros }, () => '0'), ...tail]
  return `${groups.slice(0, 4).join(':')}::/64`
}
