/**
 * An XMPP stream over a socket (RFC 6120): TCP, STARTTLS in place, or TLS from the first byte
 * (XEP-0368).
 */
import { createHash } from 'node:crypto'
import type { X509Certificate } from 'node:crypto'
import type { Socket } from 'node:net'
import { TLSSocket, connect as connectTls } from 'node:tls'
import type { Clock, Timer } from '../../../protocol/ports.ts'
import { xmppLimits } from '../limits.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import { XmlStreamReader } from '../xml/reader.ts'
import { writeAttributes, writeStanza } from '../xml/writer.ts'
import { readStreamError, streamErrorElement } from './stream-errors.ts'
import type { StreamError } from './stream-errors.ts'
import type { StartTlsOptions, TlsFacts, XmlStream, XmlStreamListener } from './xml-stream.ts'

const dialbackNs = 'jabber:server:dialback'
const exporterLabel = 'EXPORTER-Channel-Binding'
const exporterBytes = 32

export interface SocketStreamOptions {
  /** Which end we are: the server's end shows the certificate. */
  readonly side: 'server' | 'client'
}

export class SocketStream implements XmlStream {
  readonly #clock: Clock
  readonly #side: 'server' | 'client'
  readonly remoteAddress: string
  #socket: Socket
  #reader: XmlStreamReader
  #charactersMax: number = xmppLimits.stanzaBeforeLoginMax
  #listener: XmlStreamListener | undefined
  /** Our header went out, so a close has to be balanced. */
  #isOpen = false
  #isClosing = false
  #isOver = false
  #isPeerClosed = false
  #error: StreamError | undefined
  #isErrorOurs = false
  #outgoing = ''
  #written: (() => void)[] = []
  #isFlushDue = false
  #isFull = false
  #closeTimer: Timer | undefined
  #tls: TlsFacts | undefined

  constructor({ socket, clock }: { socket: Socket, clock: Clock }, { side }: SocketStreamOptions) {
    this.#clock = clock
    this.#side = side
    this.#socket = socket
    this.remoteAddress = socket.remoteAddress ?? ''
    if (socket instanceof TLSSocket) this.#tls = tlsFacts(socket, side)
    this.#reader = this.#newReader()
    socket.setNoDelay(true)
    socket.pause()
  }

  get transport(): 'tcp' | 'tls' {
    return this.#tls === undefined ? 'tcp' : 'tls'
  }

  get tls(): TlsFacts | undefined {
    return this.#tls
  }

  get bufferedBytes(): number {
    return this.#outgoing.length + this.#socket.writableLength
  }

  listen(listener: XmlStreamListener): void {
    this.#listener = listener
    this.#attach()
  }

  setStanzaMax(characters: number): void {
    this.#charactersMax = characters
    this.#reader.charactersMax = characters
  }

  open({ contentNs, withDialback = false, ...attrs }: Parameters<XmlStream['open']>[0]): void {
    if (this.#isClosing) return
    this.#isOpen = true
    const dialback = withDialback ? ` xmlns:db='${dialbackNs}'` : ''
    const lang = this.#side === 'server' ? ` xml:lang='en'` : ''
    this.#put(`<?xml version='1.0'?><stream:stream xmlns='${contentNs}' xmlns:stream='${ns.stream}'`
      + `${dialback}${writeAttributes(attrs)}${lang} version='1.0'>`)
  }

  send(element: XmlElement, written?: () => void): void {
    if (this.#isClosing) return
    this.#put(streamText(element))
    if (written !== undefined) this.#written.push(written)
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  restart(): void {
    this.#reader.stop()
    this.#reader = this.#newReader()
  }

  startTls(options: StartTlsOptions): void {
    this.#flush()
    const plain = this.#socket
    this.#reader.stop()
    this.#detach(plain)
    // Said in the clear after the word that TLS follows: somebody put it there (CVE-2011-0411).
    if (plain.readableLength > 0) {
      this.destroy()
      return
    }
    const socket = options.side === 'server' ? serverSide(plain, options) : clientSide(plain, options)
    socket.disableRenegotiation()
    this.#socket = socket
    this.#reader = this.#newReader()
    // Until it is up nothing is read from it; a handshake that fails ends the stream by `close`.
    socket.once(options.side === 'server' ? 'secure' : 'secureConnect', () => {
      this.#tls = tlsFacts(socket, options.side)
      this.#listener?.secured?.()
    })
    this.#attach()
  }

  close(error?: StreamError): void {
    if (this.#isClosing) return
    if (error !== undefined) {
      this.#error = error
      this.#isErrorOurs = true
      if (!this.#isOpen) this.open({ contentNs: ns.client })
      this.#put(streamText(streamErrorElement(error)))
    }
    if (this.#isOpen) this.#put('</stream:stream>')
    this.#isClosing = true
    this.#flush()
    // An error needs no answer; a peer that closes gets ours and the end.
    if (this.#isPeerClosed || error !== undefined) this.#socket.end()
    this.#closeTimer = this.#clock.after(xmppLimits.streamCloseMs, () => this.#socket.destroy())
  }

  destroy(): void {
    this.#isClosing = true
    this.#reader.stop()
    this.#socket.destroy()
    this.#ended()
  }

  #newReader(): XmlStreamReader {
    const reader = new XmlStreamReader({
      open: (header, contentNs) => this.#opened(header, contentNs),
      element: (element) => this.#element(element),
      close: () => this.#peerClosed(),
      failed: (condition, text) => this.close({ condition, text }),
    }, { charactersMax: this.#charactersMax })
    return reader
  }

  #opened(header: XmlElement, contentNs: string): void {
    if (!header.is('stream', ns.stream)) {
      const condition = header.name === 'stream' ? 'invalid-namespace' : 'bad-format'
      this.close({ condition, text: `the stream begins with ${header.name} of ${header.ns.slice(0, 100)}` })
      this.#reader.stop()
      return
    }
    const { to, from, id, version } = header.attrs
    this.#listener?.opened({
      to, from, id, version, lang: header.attrs['xml:lang'], contentNs,
    })
  }

  #element(element: XmlElement): void {
    if (element.is('error', ns.stream)) {
      this.#error ??= readStreamError(element)
      return
    }
    // Nothing is handled after we closed: it will come again, or is lost with an acknowledged end.
    if (!this.#isClosing) this.#listener?.element(element)
  }

  #peerClosed(): void {
    this.#isPeerClosed = true
    if (this.#isClosing) this.#socket.end()
    else this.close()
  }

  #put(text: string): void {
    this.#outgoing += text
    if (this.#isFlushDue) return
    this.#isFlushDue = true
    setImmediate(() => this.#flush())
  }

  #flush(): void {
    this.#isFlushDue = false
    const text = this.#outgoing
    if (text === '') return
    this.#outgoing = ''
    const written = this.#written
    this.#written = []
    const socket = this.#socket
    if (socket.destroyed) return
    const isRoom = socket.write(text, 'utf8', (error) => {
      if (error === undefined || error === null) for (const one of written) one()
    })
    if (!isRoom) this.#isFull = true
  }

  #attach(): void {
    const socket = this.#socket
    socket.on('data', this.#onData)
    socket.on('drain', this.#onDrain)
    socket.on('error', this.#onError)
    socket.on('end', this.#onEnd)
    socket.on('close', this.#onClose)
    socket.resume()
  }

  #detach(socket: Socket): void {
    socket.off('data', this.#onData)
    socket.off('drain', this.#onDrain)
    socket.off('error', this.#onError)
    socket.off('end', this.#onEnd)
    socket.off('close', this.#onClose)
  }

  readonly #onData = (bytes: Buffer): void => this.#reader.write(bytes)
  readonly #onDrain = (): void => {
    if (!this.#isFull) return
    this.#isFull = false
    this.#listener?.drained?.()
  }
  /** `close` follows. */
  readonly #onError = (error: Error): void => {
    this.#error ??= { condition: 'remote-connection-failed', text: error.message }
  }
  readonly #onEnd = (): void => {
    if (!this.#isClosing) this.#socket.end()
  }
  readonly #onClose = (): void => this.#ended()

  #ended(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#isClosing = true
    this.#closeTimer?.cancel()
    this.#reader.stop()
    const error = this.#error
    this.#listener?.closed({
      ...error === undefined ? {} : { error }, isClean: this.#isPeerClosed, isOurs: this.#isErrorOurs,
    })
  }
}

/** Elements of the stream's own namespace have a prefix there: some clients look for it by name. */
function streamText(element: XmlElement): string {
  const text = writeStanza(element)
  if (element.ns !== ns.stream) return text
  const { name } = element
  const rest = text.slice(`<${name} xmlns='${ns.stream}'`.length)
  if (rest.endsWith('/>')) return `<stream:${name}${rest}`
  return `<stream:${name}${rest.slice(0, -name.length - 1)}stream:${name}>`
}

function serverSide(plain: Socket, options: Extract<StartTlsOptions, { side: 'server' }>): TLSSocket {
  return new TLSSocket(plain, {
    isServer: true,
    requestCert: options.requestCert,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.2',
    SNICallback: (name, done) => {
      const context = options.secureContext(name)
      done(context === undefined ? new Error('no certificate') : null, context)
    },
    secureContext: options.secureContext(''),
  })
}

function clientSide(plain: Socket, options: Extract<StartTlsOptions, { side: 'client' }>): TLSSocket {
  return connectTls({
    socket: plain,
    servername: options.serverName,
    // Looked at by whoever negotiates, who can say why.
    rejectUnauthorized: false,
    minVersion: 'TLSv1.2',
    ...options.ca === undefined ? {} : { ca: [...options.ca] },
    ...options.secureContext === undefined ? {} : { secureContext: options.secureContext },
  })
}

export function tlsFacts(socket: TLSSocket, side: 'server' | 'client'): TlsFacts {
  const protocol = socket.getProtocol() ?? ''
  const own = side === 'server' ? socket.getX509Certificate() : undefined
  const { authorizationError } = socket
  return {
    protocol,
    exporter: protocol === 'TLSv1.3'
      ? socket.exportKeyingMaterial(exporterBytes, exporterLabel, Buffer.alloc(0))
      : undefined,
    endPoint: own === undefined ? undefined : endPointHash(own),
    peerFinished: side === 'server' ? socket.getPeerFinished() : undefined,
    peerCertificate: socket.getPeerX509Certificate(),
    authorizationError: authorizationError === null || authorizationError === undefined
      ? undefined
      : String((authorizationError as Error & { code?: string }).code ?? authorizationError),
    serverName: typeof socket.servername === 'string' ? socket.servername : undefined,
  }
}

/** RFC 5929 §4.1: SHA-256 in place of MD5 and SHA-1, else the hash of the certificate's signature. */
function endPointHash(certificate: X509Certificate): Buffer {
  const { signatureAlgorithm = '' } = certificate as X509Certificate & { signatureAlgorithm?: string }
  const named = /sha(384|512)/i.exec(signatureAlgorithm)?.[1]
  return createHash(named === undefined ? 'sha256' : `sha${named}`).update(certificate.raw).digest()
}
