/** Files in memory as sources and sinks of transfers, kept by name as a disk would. */
import { OpenIMError } from '../../crypto/errors.ts'
import type { FileOpener, FileSink, FileSource } from '../../protocol/client/api.ts'
import { seededRandom } from './seeded-random.ts'

export function content(name: string, length: number): Uint8Array {
  return seededRandom(name).bytes(length)
}

/** What outlives a process: files by name. */
export class TestDisk implements FileOpener {
  readonly files = new Map<string, Uint8Array>()
  readonly parts = new Map<string, Uint8Array>()
  /** Content bytes read from sources, for tests that count. */
  bytesRead = 0
  bytesWritten = 0

  put(name: string, bytes: Uint8Array): void {
    this.files.set(name, bytes)
  }

  async source(ref: string): Promise<FileSource> {
    const bytes = this.files.get(ref)
    if (bytes === undefined) throw new OpenIMError('FILE_PATH', `there is no ${ref}`)
    return {
      size: bytes.length,
      read: async (offset, length) => {
        this.bytesRead += length
        return (this.files.get(ref) ?? bytes).slice(offset, offset + length)
      },
      close: async () => {},
    }
  }

  async sink(ref: string, stage?: 'resume' | 'finish'): Promise<FileSink> {
    const isFresh = stage === undefined || !this.parts.has(ref)
    if (isFresh && stage !== 'finish') this.parts.set(ref, new Uint8Array(0))
    return {
      isFresh,
      write: async (offset, bytes) => {
        const old = this.parts.get(ref)!
        const grown = new Uint8Array(Math.max(old.length, offset + bytes.length))
        grown.set(old)
        grown.set(bytes, offset)
        this.parts.set(ref, grown)
        this.bytesWritten += bytes.length
      },
      sync: async () => {},
      read: async (offset, length) => this.parts.get(ref)!.slice(offset, offset + length),
      finish: async () => {
        const bytes = this.parts.get(ref)
        if (bytes !== undefined) this.files.set(ref, bytes)
        this.parts.delete(ref)
        return ref
      },
      discard: async () => { this.parts.delete(ref) },
      close: async () => {},
    }
  }
}
