/** Finds secrets in text, in every form that printing gives bytes. */
import { inspect } from 'node:util'
import { hex } from '../../../crypto/bytes.ts'

const everything = { depth: 12, maxArrayLength: null, maxStringLength: null }

/** What people and logs may do to a value. */
export function printed(value: unknown): string {
  const spread = typeof value === 'object' && value !== null ? { ...value } : value
  return [
    inspect(value, { ...everything, showHidden: true, getters: true }),
    inspect({ held: value }, { ...everything, showProxy: true }),
    json(value), json({ held: [value] }), json(spread), String(value),
    value instanceof Error ? value.stack : '',
  ].join('\n')
}

function json(value: unknown): string {
  try {
    return JSON.stringify(value) ?? ''
  } catch {
    return ''
  }
}

/** The first secret that stands in `text`, with its form; `undefined` when none does. */
export function leak(text: string, secrets: Readonly<Record<string, Uint8Array>>): string | undefined {
  const compact = text.replace(/\s/g, '')
  const lower = compact.toLowerCase()
  for (const [name, secret] of Object.entries(secrets)) {
    if (secret.length < pieceBytes) throw new Error(`${name} is too short to be looked for`)
    // Beginning, middle and end: a print may be cut, or leave out what repeats.
    for (const at of [0, (secret.length - pieceBytes) >> 1, secret.length - pieceBytes]) {
      const piece = secret.subarray(at, at + pieceBytes)
      const form = forms(piece).find(([, shape]) => compact.includes(shape) || lower.includes(shape))
      if (form !== undefined) return `${name} as ${form[0]}`
    }
  }
  return undefined
}

const pieceBytes = 12

function forms(piece: Uint8Array): [form: string, text: string][] {
  const numbers = [...piece]
  const base64 = [0, 1, 2].map((shift): [string, string] => {
    // Wherever a piece begins in what was encoded: the characters that depend on its bytes alone.
    const text = Buffer.concat([Buffer.alloc(shift), piece]).toString('base64')
    return ['base64', text.slice(shift === 0 ? 0 : 4, -4)]
  })
  return [
    ['hex', hex(piece)],
    ...base64,
    ...base64.map(([, text]): [string, string] =>
      ['base64url', text.replace(/\+/g, '-').replace(/\//g, '_')]),
    ['numbers', numbers.join(',')],
    ['an object of numbers', numbers.map((byte, at) => `"${at}":${byte}`).join(',')],
    ['bytes of a Buffer', numbers.map((byte) => byte.toString(16).padStart(2, '0')).join('')],
    ['raw text', Buffer.from(piece).toString('latin1').replace(/\s/g, '')],
  ]
}

/** Pieces of a stored state: nearly all of it is secret, but not the parts in `open`. */
export function piecesOf(
  name: string, state: Uint8Array, open: readonly Uint8Array[],
): Record<string, Uint8Array> {
  const isOpen = open.map((bytes) => hex(bytes))
  const pieces: Record<string, Uint8Array> = {}
  for (let at = 0; at + pieceBytes <= state.length; at += 8) {
    const piece = state.subarray(at, at + pieceBytes)
    const shape = hex(piece)
    const isKnown = isOpen.some((text) => text.includes(shape.slice(8, 16)))
    if (!isKnown && new Set(piece).size >= pieceBytes / 2) pieces[`${name} at ${at}`] = piece
  }
  return pieces
}
