/**
 * A page that is a device: linked once with a code, then a chat. No framework, no bundler; what it
 * shows it shows as text, so that no message can bring markup with it.
 *
 * The device lives in the database `openim` of this site. `serve.ts` gives the page out.
 */
import { IndexedDbKv, isLinked, linkDevice, openDevice, OpenIMError } from 'openim/client'
import type { Client, HistoryEntry, MessageStatus, ShortCode } from 'openim/client'

const shown = 100

function element<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T
}

function say(text: string): void {
  element('state').textContent = text
}

/** Resolves with what the person presses. */
function askSame(code: ShortCode, name: string): Promise<boolean> {
  say(`linking to the account of ${name}`)
  element('digits').textContent = code.digits
  element('pictures').textContent = code.pictures.map(({ symbol, name: word }) => `${symbol} ${word}`).join('  ')
  element('compare').hidden = false
  return new Promise((resolve) => {
    element('same').onclick = () => resolve(true)
    element('different').onclick = () => resolve(false)
  }).finally(() => { element('compare').hidden = true }) as Promise<boolean>
}

/** Fields of a form when it is submitted. */
function onSubmit(form: HTMLFormElement, act: (fields: Record<string, string>) => Promise<void>): void {
  form.onsubmit = (event) => {
    event.preventDefault()
    const fields = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, String(value)]))
    act(fields).catch((error: unknown) => { say(error instanceof OpenIMError ? error.message : String(error)) })
  }
}

async function link(kv: IndexedDbKv): Promise<void> {
  const form = element<HTMLFormElement>('link')
  form.hidden = false
  say('not linked yet')
  await new Promise<void>((resolve) => {
    onSubmit(form, async ({ code = '', address = '', name = '' }) => {
      say('linking')
      await linkDevice({
        kv, code, name,
        addresses: address === '' ? [] : [address],
        compare: ({ code: short, name: account }) => askSame(short, account),
      })
      resolve()
    })
  })
  form.hidden = true
}

function lineOf(entry: HistoryEntry): HTMLLIElement {
  const line = document.createElement('li')
  line.dataset['id'] = entry.id
  const who = entry.direction === 'in' ? entry.contact : `to ${entry.contact}`
  line.append(`${who}: ${entry.unreadable ?? entry.text}`)
  if (entry.status !== undefined) showState(line, entry.status)
  return line
}

function showState(line: HTMLLIElement, { state }: MessageStatus): void {
  const mark = line.querySelector('small') ?? line.appendChild(document.createElement('small'))
  mark.textContent = ` (${state})`
}

async function chat(client: Client): Promise<void> {
  const messages = element<HTMLUListElement>('messages')
  const contacts = element('send').querySelector('select')!
  const find = (id: string): HTMLLIElement | null => messages.querySelector(`[data-id="${id}"]`)
  const show = (entry: HistoryEntry): void => {
    // What comes between `on` and `history` is in both.
    if (find(entry.id) === null) messages.append(lineOf(entry))
    while (messages.children.length > shown) messages.firstElementChild!.remove()
  }
  const showLatest = async (limit: number): Promise<void> => {
    for (const entry of (await client.history({ limit, reverse: true })).reverse()) show(entry)
  }
  const showContacts = async (): Promise<void> => {
    const known = (await client.contacts()).filter(({ state }) => state === 'active')
    contacts.replaceChildren(...known.map(({ name }) => new Option(name, name)))
  }
  client.on((event) => {
    if (event.type === 'connection') say(event.online ? 'connected' : 'not connected')
    else if (event.type === 'contact') void showContacts()
    else if (event.type === 'message') show(event.entry)
    else if (event.type === 'status') {
      const line = find(event.status.id)
      // The first one is of a message that was just written here.
      if (line === null) void showLatest(10)
      else showState(line, event.status)
    }
  })
  onSubmit(element<HTMLFormElement>('send'), async ({ contact = '', text = '' }) => {
    await client.send(contact, text)
    element('send').querySelector<HTMLInputElement>('[name=text]')!.value = ''
  })
  await showLatest(shown)
  await showContacts()
  say((await client.info()).online ? 'connected' : 'not connected')
  element('chat').hidden = false
}

try {
  const kv = await IndexedDbKv.open({ name: 'openim' })
  if (!await isLinked(kv)) await link(kv)
  await chat(await openDevice({ kv }))
} catch (error) {
  say(error instanceof OpenIMError ? error.message : String(error))
}
