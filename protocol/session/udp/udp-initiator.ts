/**
 * The device's side of the UDP handshake (packets.ts has the packets): says the initiation again
 * until a response authenticates, with the cookie once the node asks for one. What others inject
 * in between changes nothing: a wrong response is forgotten, and the handshake state with it, which
 * is rebuilt from its ephemeral key.
 */
import { equalBytes, wipe } from '../../../crypto/bytes.ts'
import { NoiseHandshake } from '../../../crypto/noise.ts'
import type { NoiseCipher } from '../../../crypto/noise.ts'
import type { DhKeyPair } from '../../../crypto/provider.ts'
import type { Random } from '../../../crypto/random.ts'
import { tryDecode } from '../../codec/struct.ts'
import { limits } from '../../limits.ts'
import type { Clock, Timer } from '../../ports.ts'
import {
  connectionIdBytes, cookieBytes, cookieReplyCodec, encodeInitiation, packetTypes, responseCodec,
  responsePayloadCodec, udpPrologue,
} from './packets.ts'

/** Only somebody on the path can forge more than this, and he can also just cut it. */
const forgedResponsesMax = 16
const keyBytes = 32

export interface UdpKeys {
  readonly send: NoiseCipher
  readonly receive: NoiseCipher
}

export interface Initiated {
  readonly keys: UdpKeys
  readonly nodeId: Uint8Array
  readonly resetToken: Uint8Array
  /** Undefined when it is not sure which initiation was answered. */
  readonly roundTripMs: number | undefined
}

export interface UdpInitiatorListener {
  send(datagram: Uint8Array): void
  initiated(result: Initiated): void
}

export class UdpInitiator {
  readonly deviceId: Uint8Array
  readonly #clock: Clock
  readonly #listener: UdpInitiatorListener
  readonly #keys: { readonly own: DhKeyPair, readonly nodeKey: Uint8Array }
  readonly #ephemeral: Uint8Array
  #handshake: NoiseHandshake
  #noise: Uint8Array
  #cookie = new Uint8Array(cookieBytes)
  #timer: Timer | undefined
  #sent = 0
  #sentAtMs = 0
  #forged = 0
  #done = false

  /** @throws NOISE_KEY when the node's key is of small order */
  constructor(
    components: { clock: Clock, random: Random },
    keys: { own: DhKeyPair, nodeKey: Uint8Array },
    listener: UdpInitiatorListener,
  ) {
    this.#clock = components.clock
    this.#listener = listener
    this.#keys = keys
    this.deviceId = components.random.bytes(connectionIdBytes)
    this.#ephemeral = components.random.bytes(keyBytes)
    this.#handshake = this.#newHandshake()
    this.#noise = this.#handshake.write(new Uint8Array(0))
  }

  start(): void {
    this.#say()
  }

  /** Idempotent; nothing is sent any more. */
  stop(): void {
    this.#done = true
    this.#timer?.cancel()
    wipe(this.#ephemeral)
  }

  /** A response or a cookie reply. */
  receive(datagram: Uint8Array): void {
    if (this.#done) return
    if (datagram[0] === packetTypes.response) this.#receiveResponse(datagram)
    else if (datagram[0] === packetTypes.cookie) this.#receiveCookie(datagram)
  }

  #newHandshake(): NoiseHandshake {
    return new NoiseHandshake({
      pattern: 'IK',
      role: 'initiator',
      prologue: udpPrologue(this.deviceId),
      own: this.#keys.own,
      remoteStaticKey: this.#keys.nodeKey,
      // The one thing it asks for; the same again gives the same first message.
      random: { bytes: () => this.#ephemeral.slice() },
    })
  }

  #say(): void {
    const delayMs = limits.udpRetryMs * 2 ** this.#sent
    this.#sent++
    this.#sentAtMs = this.#clock.monotonicMs()
    this.#timer?.cancel()
    this.#timer = this.#clock.after(delayMs, () => this.#say())
    const { deviceId } = this
    this.#listener.send(encodeInitiation({ deviceId, noise: this.#noise, cookie: this.#cookie }))
  }

  #receiveCookie(datagram: Uint8Array): void {
    const reply = tryDecode(cookieReplyCodec, datagram)
    if (!reply.ok || !equalBytes(reply.value.deviceId, this.deviceId)) return
    // Said once for each cookie, so that a repeated reply costs no initiations.
    if (equalBytes(reply.value.cookie, this.#cookie)) return
    this.#cookie = reply.value.cookie.slice()
    this.#say()
  }

  #receiveResponse(datagram: Uint8Array): void {
    const response = tryDecode(responseCodec, datagram)
    if (!response.ok || !equalBytes(response.value.deviceId, this.deviceId)) return
    if (this.#forged >= forgedResponsesMax) return
    const read = this.#handshake.read(response.value.noise)
    const payload = read.ok ? tryDecode(responsePayloadCodec, read.value) : read
    if (!payload.ok) {
      this.#forged++
      this.#handshake = this.#newHandshake()
      this.#noise = this.#handshake.write(new Uint8Array(0))
      return
    }
    const { send, receive } = this.#handshake.split()
    const roundTripMs = this.#sent === 1 ? this.#clock.monotonicMs() - this.#sentAtMs : undefined
    const { nodeId, resetToken } = payload.value
    this.stop()
    this.#listener.initiated({
      keys: { send, receive }, nodeId: nodeId.slice(), resetToken: resetToken.slice(), roundTripMs,
    })
  }
}
