/** What this program reads of the engine's answers, with Docker's names. */

export interface Port {
  IP?: string;
  PrivatePort: number;
  PublicPort?: number;
  Type: string;
}

export interface ContainerSummary {
  Id: string;
  Names: string[] | null;
  Image: string;
  ImageID: string;
  Command: string;
  Created: number;
  Ports: Port[] | null;
  Labels: Record<string, string> | null;
  State: string;
  Status: string;
  SizeRw?: number;
  SizeRootFs?: number;
  Mounts?: { Name?: string; Source?: string; Driver?: string; Type?: string }[] | null;
  NetworkSettings?: { Networks?: Record<string, unknown> | null };
  ImageManifestDescriptor?: { platform?: { os?: string; architecture?: string; variant?: string } };
}

export interface ImageSummary {
  Id: string;
  RepoTags: string[] | null;
  RepoDigests: string[] | null;
  Created: number;
  Size: number;
  SharedSize: number;
  Containers: number;
  Labels?: Record<string, string> | null;
}

export interface ContainerDetails {
  Id: string;
  Name: string;
  Created: string;
  Config: { Tty: boolean; OpenStdin: boolean; AttachStdin: boolean; StopSignal?: string; Image: string };
  State: { Running: boolean; Paused: boolean; Restarting: boolean; ExitCode: number; Status: string; Error?: string };
  HostConfig: { AutoRemove: boolean; LogConfig?: { Type: string } };
  NetworkSettings: { Ports: Record<string, { HostIp: string; HostPort: string }[] | null> | null };
}

export interface CreateAnswer {
  Id: string;
  Warnings: string[] | null;
}

/** A line of a stream that tells progress. */
export interface ProgressMessage {
  id?: string;
  status?: string;
  stream?: string;
  progress?: string;
  progressDetail?: { current?: number; total?: number; units?: string; hidecounts?: boolean; start?: number };
  error?: string;
  errorDetail?: { code?: number; message?: string };
  aux?: { ID?: string; Tag?: string; Digest?: string; Size?: number };
}
