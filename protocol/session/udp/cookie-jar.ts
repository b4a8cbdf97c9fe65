/**
 * Cookies prove that whoever sends an initiation also receives at the address it comes from, and
 * cost the node no memory: a MAC over the address and the device's connection id, with a key that
 * is thrown away every `limits.udpCookieMs`. A cookie is good under the current key and the one
 * before.
 */
import { concat, equalBytes, utf8 } from '../../../crypto/bytes.ts'
import { crypto } from '../../../crypto/index.ts'
import type { Random } from '../../../crypto/random.ts'
import { limits } from '../../limits.ts'
import type { Clock } from '../../ports.ts'
import { cookieBytes } from './packets.ts'

const keyBytes = 32

export class CookieJar {
  readonly #clock: Clock
  readonly #random: Random
  #period: number
  #key: Uint8Array
  #keyBefore: Uint8Array

  constructor(components: { clock: Clock, random: Random }) {
    this.#clock = components.clock
    this.#random = components.random
    this.#period = this.#periodNow()
    this.#key = this.#random.bytes(keyBytes)
    this.#keyBefore = this.#random.bytes(keyBytes)
  }

  /** @param address as text, port included */
  bake(address: string, deviceId: Uint8Array): Uint8Array {
    this.#rotate()
    return cookie(this.#key, address, deviceId)
  }

  isGood(given: Uint8Array, address: string, deviceId: Uint8Array): boolean {
    this.#rotate()
    return equalBytes(given, cookie(this.#key, address, deviceId))
      || equalBytes(given, cookie(this.#keyBefore, address, deviceId))
  }

  #periodNow(): number {
    return Math.floor(this.#clock.monotonicMs() / limits.udpCookieMs)
  }

  #rotate(): void {
    const period = this.#periodNow()
    if (period === this.#period) return
    this.#keyBefore = period === this.#period + 1 ? this.#key : this.#random.bytes(keyBytes)
    this.#key = this.#random.bytes(keyBytes)
    this.#period = period
  }
}

function cookie(key: Uint8Array, address: string, deviceId: Uint8Array): Uint8Array {
  return crypto.hmacSha256(key, concat(deviceId, utf8(address))).slice(0, cookieBytes)
}
