/**
 * What a UDP door counts, for metrics. One object for all connections of a door; a device's end has
 * one of its own.
 */

/** Why a datagram was thrown away. */
export const dropReasons = [
  /** Too short, too long, or no type of ours. */
  'shape',
  /** An initiation that does not decode, or whose Noise message is not for this node. */
  'initiation',
  /** A handshake over a bound of the door. */
  'bound',
  /** Of a connection that is not known here. */
  'unknown',
  /** A counter that came before, or is too old to tell. */
  'replayed',
  /** Does not authenticate. */
  'forged',
] as const
export type DropReason = (typeof dropReasons)[number]

export class UdpCounters {
  datagramsIn = 0
  bytesIn = 0
  datagramsOut = 0
  bytesOut = 0
  handshakes = 0
  cookies = 0
  resets = 0
  migrations = 0
  /** Packets taken for lost, whose content went again. */
  lost = 0
  probes = 0
  /** With addresses that nobody has proven yet; out must never be more than in. */
  unprovenBytesIn = 0
  unprovenBytesOut = 0
  readonly dropped: Record<DropReason, number> = {
    shape: 0, initiation: 0, bound: 0, unknown: 0, replayed: 0, forged: 0,
  }

  /** One flat list of numbers, as metrics want it. */
  list(): Record<string, number> {
    const { dropped, ...counts } = this
    const drops = Object.entries(dropped).map(([reason, count]) => [`dropped.${reason}`, count])
    return { ...counts, ...Object.fromEntries(drops) as Record<string, number> }
  }
}
