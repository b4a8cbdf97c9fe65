/**
 * The XML path of the XMPP bridge alone: what a stanza costs from bytes to tree to bytes, against the
 * parser without our gate and tree, and against the tree that other JavaScript servers and clients use.
 */
import { SaxesParser } from 'saxes'
import { Jid } from '../../bridges/xmpp/jid.ts'
import { XmlStreamReader } from '../../bridges/xmpp/xml/reader.ts'
import { writeStanza } from '../../bridges/xmpp/xml/writer.ts'
import { streamHeader } from '../helpers/raw-xmpp-client.ts'
import { compare, interleaved } from './bench.ts'
import type { Bench } from './bench.ts'

/** The package brings no types. */
interface LtxElement {
  parent: unknown
  readonly attrs: Record<string, string>
}
interface LtxParser {
  on(event: 'element', listener: (element: LtxElement) => void): void
  write(text: string): void
}
const ltxModule: string = '@xmpp/xml/lib/Parser.js'
const { default: XmppParser } = await import(ltxModule) as { default: new () => LtxParser }

const stanzas = 20_000
const chunkBytes = 16 * 1024
const rounds = 5

/** 466 bytes: the mean of a mix of chats, presence, archives and OMEMO. */
function stanza(i: number): string {
  const id = String(i).padStart(8, '0')
  const head = `<message from='juliet@a.test/phone' to='romeo@b.test/laptop' type='chat' id='${id}'>`
  const tail = `<active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/>`
    + `<origin-id xmlns='urn:xmpp:sid:0' id='3f2b8a52-6f0e-4f4e-9d8b-7c1a2e5d4b60'/></message>`
  return `${head}<body>${'x'.repeat(466 - head.length - tail.length - 13)}</body>${tail}`
}

function chunks(): Buffer[] {
  const whole = Buffer.from(streamHeader + Array.from({ length: stanzas }, (_, i) => stanza(i)).join(''))
  return Array.from({ length: Math.ceil(whole.length / chunkBytes) }, (_, i) =>
    whole.subarray(i * chunkBytes, (i + 1) * chunkBytes))
}

export const bench: Bench = {
  about: 'reading and writing XMPP stanzas against bare saxes and @xmpp/xml',
  async run() {
    const pieces = chunks()
    const measured = await interleaved({
      rounds,
      sides: {
        read: () => microseconds(() => ours(pieces, false)),
        route: () => microseconds(() => ours(pieces, true)),
        saxes: () => microseconds(() => bare(pieces)),
        ltx: () => microseconds(() => ltx(pieces, false)),
        ltxRoute: () => microseconds(() => ltx(pieces, true)),
      },
    })
    const saxes = { against: 'saxes', name: 'bare saxes' } as const
    const xmppXml = { against: 'ltx', name: '@xmpp/xml' } as const
    const row = { unit: 'µs of CPU', better: 'lower' } as const
    const route = compare(measured, 'route', { against: 'ltxRoute', name: '@xmpp/xml, same work' })
    const { value } = route
    return [
      { figure: 'a stanza of 466 bytes read', ...row, ...compare(measured, 'read', saxes) },
      { figure: 'the same', ...row, ...compare(measured, 'read', xmppXml) },
      { figure: 'read, addresses parsed, written', ...row, ...route },
      { figure: 'read, addresses parsed, written, alone', ...row, value, target: 12 },
    ]
  },
}

/** Of CPU, a stanza. */
function microseconds(work: () => number): number {
  const start = process.cpuUsage()
  const count = work()
  const { user, system } = process.cpuUsage(start)
  return (user + system) / count
}

function ours(pieces: readonly Buffer[], isRouted: boolean): number {
  let count = 0
  let bytes = 0
  const reader = new XmlStreamReader({
    open() {},
    element: (element) => {
      count++
      if (!isRouted) return
      const from = Jid.parse(element.attrs.from!)!
      const to = Jid.parse(element.attrs.to!)!
      bytes += writeStanza(element.withAttrs({ from: from.toString(), to: to.toString() })).length
    },
    close() {},
    failed: (condition) => { throw new Error(condition) },
  }, { charactersMax: 262_144 })
  for (const piece of pieces) reader.write(piece)
  if (isRouted && bytes < count) throw new Error('nothing was written')
  return count
}

function bare(pieces: readonly Buffer[]): number {
  let count = 0
  const parser = new SaxesParser({ xmlns: true, position: false })
  parser.on('opentag', () => {})
  parser.on('text', () => {})
  parser.on('closetag', ({ name }) => { if (name === 'message') count++ })
  for (const piece of pieces) parser.write(piece.toString())
  return count
}

function ltx(pieces: readonly Buffer[], isRouted: boolean): number {
  let count = 0
  let bytes = 0
  const parser = new XmppParser()
  parser.on('element', (element) => {
    count++
    if (!isRouted) return
    // Its elements are changed in place.
    element.parent = null
    element.attrs.from = Jid.parse(element.attrs.from!)!.toString()
    element.attrs.to = Jid.parse(element.attrs.to!)!.toString()
    bytes += element.toString().length
  })
  for (const piece of pieces) parser.write(piece.toString())
  if (isRouted && bytes < count) throw new Error('nothing was written')
  return count
}
