/**
 * The query language of Message Archive Management (XEP-0313 1.1.2) with result sets (XEP-0059), for
 * accounts and for rooms: parses a query, answers with results and the end of the page.
 */
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import { StanzaError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import type { Archive, ArchiveEntry, ArchiveFilter, ArchivePaging } from './archive.ts'

export const mamFeatures = [ns.mam, `${ns.mam}#extended`] as const

export interface MamQuery {
  readonly queryId: string | undefined
  readonly filter: ArchiveFilter
  readonly paging: ArchivePaging
  /** The page's entries the other way round (§4.1.4 of 1.1). */
  readonly isFlipped: boolean
}

/** @throws StanzaError `bad-request`, `feature-not-implemented` for a field that is unknown */
export function parseQuery(query: XmlElement): MamQuery {
  const form = query.child('x', ns.dataForm)
  return {
    queryId: query.attrs.queryid,
    filter: form === undefined ? {} : parseFilter(form),
    paging: parsePaging(query.child('set', ns.rsm)),
    isFlipped: query.child('flip-page') !== undefined,
  }
}

function parseFilter(form: XmlElement): ArchiveFilter {
  let filter: ArchiveFilter = {}
  for (const field of form.elements('field')) {
    const values = field.elements('value').map(({ text }) => text)
    const [value = ''] = values
    switch (field.attrs.var) {
      case 'FORM_TYPE':
        if (value !== ns.mam) throw new StanzaError('bad-request', 'the form is no archive query')
        break
      case 'start': filter = { ...filter, startMs: parseTime(value) }; break
      case 'end': filter = { ...filter, endMs: parseTime(value) }; break
      case 'with': filter = { ...filter, with: parseJid(value) }; break
      case 'before-id': filter = { ...filter, beforeId: value }; break
      case 'after-id': filter = { ...filter, afterId: value }; break
      case 'ids':
        if (values.length > xmppLimits.archiveIdsMax) {
          throw new StanzaError('policy-violation', `at most ${xmppLimits.archiveIdsMax} ids at a time`)
        }
        filter = { ...filter, ids: values }
        break
      default: {
        const text = `a filter by ${String(field.attrs.var).slice(0, 40)} is not known here`
        throw new StanzaError('feature-not-implemented', text)
      }
    }
  }
  return filter
}

function parsePaging(set: XmlElement | undefined): ArchivePaging {
  const given = set?.childText('max') ?? ''
  const most = /^\d{1,9}$/.test(given) ? Number(given) : xmppLimits.archivePageDefault
  const max = Math.min(most, xmppLimits.archivePageMax)
  const after = set?.childText('after')
  const before = set?.childText('before')
  return {
    max,
    ...after === undefined || after === '' ? {} : { after },
    ...before === undefined ? {} : { before },
  }
}

/** XEP-0082. @throws StanzaError `bad-request` */
function parseTime(text: string): number {
  const isTime = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,12})?(Z|[+-]\d{2}:\d{2})$/.test(text)
  const time = isTime ? Date.parse(text) : NaN
  if (Number.isNaN(time)) throw new StanzaError('bad-request', `"${text.slice(0, 40)}" is no time`)
  return time
}

function parseJid(text: string): Jid {
  const jid = Jid.parse(text)
  if (jid === undefined) throw new StanzaError('jid-malformed', `"${text.slice(0, 80)}" is no address`)
  return jid
}

export interface MamAnswer {
  /** To be sent before the result. */
  readonly messages: readonly XmlElement[]
  readonly fin: XmlElement
}

/** `to`: who asked, full; `from`: whose archive it is. @throws StanzaError `item-not-found` */
export async function answerQuery(
  archive: Archive,
  query: XmlElement,
  { owner, from, to }: { readonly owner: string, readonly from: Jid, readonly to: Jid },
): Promise<MamAnswer> {
  const { queryId, filter, paging, isFlipped } = parseQuery(query)
  const named = [paging.after, paging.before, filter.afterId, filter.beforeId, ...filter.ids ?? []]
  for (const id of named) {
    if (id === undefined || id === '' || await archive.has(owner, id)) continue
    throw new StanzaError('item-not-found', 'the archive has no message with this id')
  }
  const { entries, isComplete } = await archive.query(owner, filter, paging)
  const shown = isFlipped ? [...entries].reverse() : entries
  const messages = shown.map((entry) => el(ns.client, 'message', { from: from.toString(), to: to.toString() },
    el(ns.mam, 'result', { id: entry.id, queryid: queryId }, forwarded(entry))))
  const [first] = entries
  const last = entries.at(-1)
  const fin = el(ns.mam, 'fin', { complete: isComplete ? 'true' : undefined, queryid: queryId },
    el(ns.rsm, 'set', {},
      first === undefined ? undefined : el(ns.rsm, 'first', {}, first.id),
      last === undefined ? undefined : el(ns.rsm, 'last', {}, last.id)))
  return { messages, fin }
}

/** XEP-0313 §4.1.2. */
export async function archiveMetadata(archive: Archive, owner: string): Promise<XmlElement> {
  const ends = await archive.ends(owner)
  if (ends === undefined) return el(ns.mam, 'metadata')
  const end = (name: string, { id, atMs }: ArchiveEntry): XmlElement =>
    el(ns.mam, name, { id, timestamp: new Date(atMs).toISOString() })
  return el(ns.mam, 'metadata', {}, end('start', ends.first), end('end', ends.last))
}

/** The form of what a query may filter by. */
export function queryForm(): XmlElement {
  const field = (name: string, type: string, value?: string): XmlElement => el(ns.dataForm, 'field',
    { var: name, type }, value === undefined ? undefined : el(ns.dataForm, 'value', {}, value))
  return el(ns.mam, 'query', {}, el(ns.dataForm, 'x', { type: 'form' },
    field('FORM_TYPE', 'hidden', ns.mam),
    field('with', 'jid-single'), field('start', 'text-single'), field('end', 'text-single'),
    field('before-id', 'text-single'), field('after-id', 'text-single'), field('ids', 'list-multi')))
}

function forwarded({ atMs, message }: ArchiveEntry): XmlElement {
  const delay = el(ns.delay, 'delay', { stamp: new Date(atMs).toISOString() })
  return el(ns.forward, 'forwarded', {}, delay, message)
}
