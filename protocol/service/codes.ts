/**
 * Services between nodes: one code each, called over a PeerLink with a request body and one reply
 * body, or refused with a code. One file here per service; docs/protocol.md has the layouts.
 */

export const services = {
  locationPut: 1,
  locationGet: 2,
  deposit: 3,
  fetch: 4,
  acknowledge: 5,
  lease: 6,
  shelfPut: 7,
  shelfTake: 8,
  directorySync: 9,
  echo: 10,
  householdHint: 11,
} as const

export type ServiceCode = (typeof services)[keyof typeof services]
