/**
 * An XMPP stream over a WebSocket (RFC 7395): a message is one element, a stream begins with
 * `<open/>` and ends with `<close/>`, and TLS is the business of whatever lies below.
 */
import { WebSocket } from 'ws'
import type { RawData } from 'ws'
import type { Clock, Timer } from '../../../protocol/ports.ts'
import { xmppLimits } from '../limits.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import { parseElement } from '../xml/text.ts'
import { writeElement } from '../xml/writer.ts'
import { readStreamError, streamErrorElement } from './stream-errors.ts'
import type { StreamError } from './stream-errors.ts'
import type { TlsFacts, XmlStream, XmlStreamListener } from './xml-stream.ts'

export interface WebSocketStreamOptions {
  readonly remoteAddress: string
  /** Of the HTTPS connection below; `undefined`: a proxy ended TLS, or there is none. */
  readonly tls: TlsFacts | undefined
}

export class WebSocketStream implements XmlStream {
  readonly transport = 'websocket'
  readonly remoteAddress: string
  readonly tls: TlsFacts | undefined
  readonly #clock: Clock
  readonly #socket: WebSocket
  #listener: XmlStreamListener | undefined
  #charactersMax: number = xmppLimits.stanzaBeforeLoginMax
  #isOpen = false
  #isClosing = false
  #isPeerClosed = false
  #isOver = false
  #error: StreamError | undefined
  #isErrorOurs = false
  #closeTimer: Timer | undefined
  #isFull = false

  constructor({ socket, clock }: { socket: WebSocket, clock: Clock }, options: WebSocketStreamOptions) {
    this.#clock = clock
    this.#socket = socket
    this.remoteAddress = options.remoteAddress
    this.tls = options.tls
    socket.pause()
  }

  get bufferedBytes(): number {
    return this.#socket.bufferedAmount
  }

  listen(listener: XmlStreamListener): void {
    this.#listener = listener
    const socket = this.#socket
    socket.on('message', (data, isBinary) => this.#message(data, isBinary))
    socket.on(
      'error',
      (error) => { this.#error ??= { condition: 'remote-connection-failed', text: error.message } },
    )
    socket.on('close', () => this.#ended())
    socket.resume()
  }

  setStanzaMax(characters: number): void {
    this.#charactersMax = characters
  }

  open({ from, to, id }: Parameters<XmlStream['open']>[0]): void {
    if (this.#isClosing) return
    this.#isOpen = true
    this.#put(el(ns.framing, 'open', { from, to, id, version: '1.0', 'xml:lang': 'en' }))
  }

  send(element: XmlElement, written?: () => void): void {
    if (!this.#isClosing) this.#put(element, written)
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  /** The next `<open/>` says it by itself (RFC 7395 §3.4). */
  restart(): void {}

  startTls(): void {
    this.close({ condition: 'unsupported-feature', text: 'TLS is below a WebSocket' })
  }

  close(error?: StreamError): void {
    if (this.#isClosing) return
    if (error !== undefined) {
      this.#error = error
      this.#isErrorOurs = true
      if (!this.#isOpen) this.open({ contentNs: ns.client })
      this.#put(streamErrorElement(error))
    }
    if (this.#isOpen) this.#put(el(ns.framing, 'close'))
    this.#isClosing = true
    if (this.#isPeerClosed || error !== undefined) this.#socket.close(1000)
    this.#closeTimer = this.#clock.after(xmppLimits.streamCloseMs, () => this.#socket.terminate())
  }

  destroy(): void {
    this.#isClosing = true
    this.#socket.terminate()
    this.#ended()
  }

  #message(data: RawData, isBinary: boolean): void {
    if (this.#isClosing && !this.#isOpen) return
    if (isBinary) {
      this.close({ condition: 'bad-format', text: 'binary messages are not spoken here' })
      return
    }
    const bytes = data as Buffer
    // ws has checked that it is UTF-8, and bounds a message.
    if (bytes.length > this.#charactersMax * 4) {
      this.close(
        { condition: 'policy-violation', text: `a stanza has more than ${this.#charactersMax} characters` },
      )
      return
    }
    const text = bytes.toString('utf8')
    if (text.length > this.#charactersMax) {
      this.close(
        { condition: 'policy-violation', text: `a stanza has more than ${this.#charactersMax} characters` },
      )
      return
    }
    // RFC 7395 §3.8: white space is no stanza and keeps nothing alive.
    if (text.trim() === '') return
    const element = parseElement(text)
    if ('condition' in element) this.close(element)
    else this.#element(element)
  }

  #element(element: XmlElement): void {
    if (element.is('open', ns.framing)) {
      const { to, from, id, version } = element.attrs
      if (this.#isClosing) return
      this.#listener?.opened({ to, from, id, version, lang: element.attrs['xml:lang'], contentNs: ns.client })
    } else if (element.is('close', ns.framing)) {
      this.#isPeerClosed = true
      if (this.#isClosing) this.#socket.close(1000)
      else this.close()
    } else if (element.is('error', ns.stream)) {
      this.#error ??= readStreamError(element)
    } else if (element.ns === ns.framing || element.ns === ns.stream) {
      this.close({ condition: 'bad-format', text: `<${element.name.slice(0, 40)}/> has no place here` })
    } else if (!this.#isClosing) {
      this.#listener?.element(element)
    }
  }

  #put(element: XmlElement, written?: () => void): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return
    this.#socket.send(writeElement(element), (error) => {
      if (error === undefined || error === null) written?.()
      if (this.#isFull && this.#socket.bufferedAmount < xmppLimits.lowWaterBytes) {
        this.#isFull = false
        this.#listener?.drained?.()
      }
    })
    if (this.#socket.bufferedAmount >= xmppLimits.lowWaterBytes) this.#isFull = true
  }

  #ended(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#isClosing = true
    this.#closeTimer?.cancel()
    const error = this.#error
    this.#listener?.closed({
      ...error === undefined ? {} : { error }, isClean: this.#isPeerClosed, isOurs: this.#isErrorOurs,
    })
  }
}
